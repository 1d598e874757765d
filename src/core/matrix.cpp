#include "pleiad/core/matrix.hpp"

#include <cstring>
#include <new>

#include "pleiad/core/poison.hpp"

#ifdef __linux__
#include <sys/mman.h>
#endif

namespace pleiad {

void* allocate_aligned(std::size_t bytes) {
  // For tables that stay. What comes and goes in a step is better served by small pages: large ones may have to be made free first.
  constexpr std::size_t k_large_page = std::size_t{2} << 20, k_large = 128 * k_large_page;
  const std::size_t unit = bytes >= k_large ? k_large_page : 64;
  const std::size_t size = (bytes + unit - 1) / unit * unit;
  void* memory = std::aligned_alloc(unit, size);
  if (!memory) throw std::bad_alloc();
  if (poison_new_memory) std::memset(memory, 0xff, size);
#ifdef __linux__
  if (unit == k_large_page) madvise(memory, size, MADV_HUGEPAGE);  // a wish: without it all is the same, but slower
#endif
  return memory;
}

}  // namespace pleiad
