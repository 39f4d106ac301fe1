#include "base/library_pages.h"

#include <elf.h>
#include <link.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>

namespace insightface {
namespace {

// Whether the dynamic linker has written into read-only segments, which their file does not have.
bool IsRelocatedInPlace(const dl_phdr_info& library, const ElfW(Phdr) & segment) {
  const auto* entry = reinterpret_cast<const ElfW(Dyn)*>(library.dlpi_addr + segment.p_vaddr);
  for (; entry->d_tag != DT_NULL; ++entry) {
    if (entry->d_tag == DT_TEXTREL || (entry->d_tag == DT_FLAGS && (entry->d_un.d_val & DF_TEXTREL) != 0)) { return true; }
  }
  return false;
}

int ReleaseLibrary(dl_phdr_info* library, size_t, void*) {
  const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  for (int i = 0; i < library->dlpi_phnum; ++i) {
    const ElfW(Phdr)& segment = library->dlpi_phdr[i];
    if (segment.p_type == PT_DYNAMIC && IsRelocatedInPlace(*library, segment)) { return 0; }
  }
  for (int i = 0; i < library->dlpi_phnum; ++i) {
    const ElfW(Phdr)& segment = library->dlpi_phdr[i];
    if (segment.p_type != PT_LOAD || (segment.p_flags & PF_W) != 0) { continue; }
    const uintptr_t start = library->dlpi_addr + segment.p_vaddr;
    const uintptr_t first = (start + page - 1) / page * page, last = (start + segment.p_filesz) / page * page;
    // Pages that Linux cannot unmap stay.
    if (first < last) { madvise(reinterpret_cast<void*>(first), last - first, MADV_DONTNEED); }
  }
  return 0;
}

}  // namespace

void ReleaseLibraryPages() { dl_iterate_phdr(ReleaseLibrary, nullptr); }

}  // namespace insightface
