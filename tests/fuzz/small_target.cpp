// The small files beside HDF5 ones: live.json, finished.json, sweep.json, attempts.txt. One input is the content of all of them.
#include "fuzz.hpp"

#include "pleiad/io/live_status.hpp"
#include "pleiad/io/run_marker.hpp"
#include "pleiad/io/sweep_index.hpp"
#include "pleiad/sweep/point_state.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace pleiad;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const std::string folder = fuzz::scratch() + "/sweep", point = folder + "/points/p";
  std::filesystem::create_directories(point);
  for (const char* name : {"/live.json", "/finished.json", "/attempts.txt", "/output.txt"}) fuzz::put(point + name, text);
  fuzz::put(folder + "/sweep.json", text);
  fuzz::attempt([&] {
    if (const auto live = io::read_live_status(point)) io::write_live_status(fuzz::scratch(), *live);
  });
  fuzz::attempt([&] { io::check_marker(point); });
  fuzz::attempt([&] { io::read_sweep_index(folder); });
  fuzz::attempt([&] {
    io::SweepIndex index;
    index.folder = folder;
    io::SweepPoint of_index;
    of_index.name = "p";
    sweep::point_status(index, of_index, {});
  });
  return 0;
}
