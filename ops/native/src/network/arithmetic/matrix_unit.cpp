#include "network/arithmetic/matrix_unit.h"

#include <oneapi/dnnl/dnnl.hpp>

#ifdef __x86_64__
#include <immintrin.h>

// Only the functions below are compiled for these instructions, not those of the headers above.
#pragma GCC push_options
#pragma GCC target("amx-tile,amx-bf16")

namespace insightface {
namespace {

constexpr int64_t kTileRows = 16;

// The 64 bytes that the instruction for setting up reads: eight tiles of 16 rows.
struct alignas(64) TileSettings {
  uint8_t palette, first_row, reserved[14];
  uint16_t bytes_of_row[16];
  uint8_t rows[16];
};
constexpr TileSettings kSettings = {1, 0, {}, {64, 64, 64, 64, 64, 64, 64, 64}, {16, 16, 16, 16, 16, 16, 16, 16}};

// Functions, because GCC does not compile constructors for the instructions of a pragma.
void SetUp() {
  // GCC's function says that it reads eight bytes.
  __asm__ volatile("" : : "r"(&kSettings) : "memory");
  _tile_loadconfig(&kSettings);
}

void Release() { _tile_release(); }

}  // namespace

// Tiles 0 to 3 hold the sums, 4 and 5 rows of a, 6 and 7 columns of b.
INSIGHTFACE_INLINE void ClearSums() {
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
}

INSIGHTFACE_INLINE void AddProduct(const UnitFactor& a, const UnitFactor& b, int64_t inner) {
  constexpr int64_t kNumber = sizeof(BFloat16);
  constexpr int64_t kRight = kUnitColumns / 2;  // columns
  const int64_t a_bytes = a.step * kNumber, b_bytes = 2 * b.step * kNumber;
  for (int64_t i = 0; i < inner; i += kUnitInner) {
    const BFloat16* const upper = a.start + i;
    const BFloat16* const left = b.start + i * b.step;
    _tile_loadd(6, left, b_bytes);
    _tile_loadd(4, upper, a_bytes);
    _tile_dpbf16ps(0, 4, 6);
    _tile_loadd(7, left + 2 * kRight, b_bytes);
    _tile_dpbf16ps(1, 4, 7);
    _tile_loadd(5, upper + kTileRows * a.step, a_bytes);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
}

void SumByUnit(const UnitFactor& a, const UnitFactor& b, int64_t inner) {
  ClearSums();
  AddProduct(a, b, inner);
}

void WriteUnitSums(const UnitSums& sums) {
  const int64_t bytes = sums.step * static_cast<int64_t>(sizeof(*sums.c));
  float* const lower = sums.c + kTileRows * sums.step;
  _tile_stored(0, sums.c, bytes);
  _tile_stored(1, sums.c + sums.right, bytes);
  _tile_stored(2, lower, bytes);
  _tile_stored(3, lower + sums.right, bytes);
}

void MultiplyByUnit(const UnitFactor& a, const UnitFactor& b, int64_t inner, bool adds, const UnitSums& sums) {
  if (adds) {
    const int64_t bytes = sums.step * static_cast<int64_t>(sizeof(*sums.c));
    float* const lower = sums.c + kTileRows * sums.step;
    _tile_loadd(0, sums.c, bytes);
    _tile_loadd(1, sums.c + sums.right, bytes);
    _tile_loadd(2, lower, bytes);
    _tile_loadd(3, lower + sums.right, bytes);
  } else {
    ClearSums();
  }
  AddProduct(a, b, inner);
  WriteUnitSums(sums);
}

}  // namespace insightface

#pragma GCC pop_options

namespace insightface {

MatrixUnit::MatrixUnit() { SetUp(); }
MatrixUnit::~MatrixUnit() { Release(); }

bool HasMatrixUnit() {
  // Asked for every block of rows, and oneDNN looks at the processor each time.
  static const bool has = [] {
    switch (dnnl::get_effective_cpu_isa()) {
      case dnnl::cpu_isa::avx512_core_amx:
      case dnnl::cpu_isa::avx512_core_amx_fp16: return true;
      default: return false;
    }
  }();
  return has;
}

}  // namespace insightface

#else

namespace insightface {

bool HasMatrixUnit() { return false; }
MatrixUnit::MatrixUnit() = default;
MatrixUnit::~MatrixUnit() = default;
void SumByUnit(const UnitFactor&, const UnitFactor&, int64_t) {}
void WriteUnitSums(const UnitSums&) {}
void MultiplyByUnit(const UnitFactor&, const UnitFactor&, int64_t, bool, const UnitSums&) {}

}  // namespace insightface

#endif
