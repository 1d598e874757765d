#include "fuzz.hpp"

#include <cstdlib>
#include <iostream>
#include <optional>

#include "pleiad/core/temporary_folder.hpp"

namespace pleiad::fuzz {

namespace fs = std::filesystem;

bool attempt(const std::function<void()>& action) {
  try {
    action();
    return true;
  } catch (const UserError&) {
  } catch (const fs::filesystem_error&) {
  }
  return false;
}

void finding(const std::string& what) {
  std::cerr << "finding: " << what << std::endl;
  std::abort();
}

const std::string& scratch() {
  static const TemporaryFolder folder(fs::is_directory("/dev/shm") ? "/dev/shm" : fs::temp_directory_path().string());
  return folder.path();
}

void put(const std::string& path, std::string_view content) {
  std::error_code ignored;
  fs::remove(path, ignored);  // whoever still has the old one open keeps it
  std::ofstream(path, std::ios::binary).write(content.data(), static_cast<std::streamsize>(content.size()));
}

std::string get(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) finding("cannot read " + path);
  return {std::istreambuf_iterator<char>(in), {}};
}

const comm::Communicator& alone() {
  struct Process {
    int argc = 0;
    char** argv = nullptr;
    comm::Environment environment{argc, argv};
    comm::Communicator comm = comm::Communicator::alone();
  };
  static Process* const process = new Process;  // never ended: HDF5 and libFuzzer end after it
  return process->comm;
}

}  // namespace pleiad::fuzz
