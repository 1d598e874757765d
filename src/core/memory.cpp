#include "pleiad/core/memory.hpp"

#include <cstdlib>
#include <new>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace pleiad {

namespace {

constexpr std::size_t k_line = 64, k_huge_page = std::size_t{2} << 20;

}  // namespace

void* allocate_aligned(std::size_t bytes) {
  const bool large = bytes >= 2 * k_huge_page;
  const std::size_t unit = large ? k_huge_page : k_line;
  const std::size_t whole = (bytes + unit - 1) / unit * unit;
  void* memory = std::aligned_alloc(unit, whole);
  if (!memory) throw std::bad_alloc();
#if defined(__linux__) && defined(MADV_HUGEPAGE)
  if (large) madvise(memory, whole, MADV_HUGEPAGE);  // a wish: without it everything works as well, only slower
#endif
  return memory;
}

}  // namespace pleiad
