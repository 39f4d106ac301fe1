// The memory of loaded libraries.
#pragma once

namespace insightface {

// Unmaps the pages of all libraries that the process can only read: Linux maps those that are used again from its file
// cache. Loading OneFlow and compiling a graph touch far more of its code and tables than running the graph does.
void ReleaseLibraryPages();

}  // namespace insightface
