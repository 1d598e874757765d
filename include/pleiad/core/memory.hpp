// Aligned memory for arrays. Read next: matrix.hpp.
#pragma once
#include <cstddef>

namespace pleiad {

/// Memory for `bytes`, on a 64-byte boundary; to be freed with std::free. Large blocks begin at a huge page (2 MiB) and ask the system for such
/// pages: rows of a large table that are read in no order cost a walk through the page tables each otherwise. errors: std::bad_alloc.
void* allocate_aligned(std::size_t bytes);

}  // namespace pleiad
