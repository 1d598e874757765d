// HDF5 files that are well-formed and wrong: the first byte chooses a good file out of PLEIAD_FUZZ_TEMPLATES, the others damage it.
#include "fuzz.hpp"
#include "h5_damage.hpp"
#include "h5_readers.hpp"

#include "pleiad/io/h5.hpp"

#include <hdf5.h>

namespace {

using namespace pleiad;

struct Template {
  std::string path, content;
  fuzz::Anatomy anatomy;
};

const std::vector<Template>& templates() {
  static const std::vector<Template> all = [] {
    // Memory that HDF5 frees goes back at once, where the sanitizer sees it: what it keeps for later use nobody watches.
    H5set_free_list_limits(0, 0, 0, 0, 0, 0);
    std::vector<Template> made;
    for (const char* name : {PLEIAD_FUZZ_TEMPLATES}) {
      const std::string path = fuzz::template_path(name);
      io::H5File::open(path);  // HDF5 as our readers set it up
      made.push_back({path, fuzz::get(path), fuzz::anatomy_of(path)});
    }
    return made;
  }();
  return all;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Bytes bytes(data, size);
  const Template& good = templates()[bytes.below(templates().size())];
  const std::string path = fuzz::scratch() + "/run.h5";
  fuzz::put(path, good.content);
  if (!fuzz::damage(path, good.anatomy, bytes)) return 0;
  fuzz::trapped();
  fuzz::read_in_every_way(path, good.path);
  if (fuzz::trapped()) fuzz::finding("a file was opened because another one names it");
  return 0;
}
