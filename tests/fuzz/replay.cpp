// Feeds files to a fuzz target, each path being a file or a folder of them: what libFuzzer found once is a test ever after.
#include <sys/resource.h>

#include <algorithm>
#include <iostream>
#include <vector>

#include "fuzz.hpp"

int main(int argc, char** argv) {
  namespace fs = std::filesystem;
  std::vector<std::string> files;
  for (int i = 1; i < argc; ++i) {
    if (!fs::is_directory(argv[i])) files.push_back(argv[i]);
    else for (const auto& entry : fs::directory_iterator(argv[i])) files.push_back(entry.path().string());
  }
  std::ranges::sort(files);
  for (const std::string& file : files) {
    std::cout << file << std::endl;  // before it breaks anything
    const std::string content = pleiad::fuzz::get(file);
    LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(content.data()), content.size());
  }
  struct rusage used = {};
  getrusage(RUSAGE_SELF, &used);
  std::cout << files.size() << " inputs, " << used.ru_maxrss / 1024 << " MiB at most" << std::endl;
  if (files.empty()) return 1;
  // All inputs are small; memory far above their size was taken on a file's word.
  return used.ru_maxrss > 1024 * 1024 ? 1 : 0;
}
