// Fixtures with a folder for the files of one test, which goes with all that is in it.
#pragma once
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "pleiad/comm/collectives.hpp"

namespace pleiad::test {

inline std::string make_temporary_folder() {
  char pattern[] = "/tmp/pleiad-test-XXXXXX";
  return mkdtemp(pattern);
}

class TemporaryFolder : public testing::Test {
 protected:
  ~TemporaryFolder() override { std::filesystem::remove_all(folder_); }
  std::string at(const std::string& name) const { return folder_ + "/" + name; }
  /// Writes a file and returns its path.
  std::string text_file(const std::string& name, const std::string& text) const {
    std::ofstream(at(name), std::ios::binary) << text;
    return at(name);
  }

  std::string folder_ = make_temporary_folder();
};

/// One folder for all ranks; rank 0 makes and removes it.
class SharedFolder : public testing::Test {
 protected:
  SharedFolder() : comm_(comm::Communicator::world()), folder_(comm::broadcast(comm_, comm_.root() ? make_temporary_folder() : "")) {}
  ~SharedFolder() override {
    comm::barrier(comm_);
    if (comm_.root()) std::filesystem::remove_all(folder_);
  }
  std::string at(const std::string& name) const { return folder_ + "/" + name; }
  /// Makes a folder in it that only this rank knows, of_rank_R, as with local disks.
  std::string own_folder() const {
    const std::string own = at("of_rank_" + std::to_string(comm_.rank()));
    std::filesystem::create_directory(own);
    return own;
  }

  comm::Communicator comm_;
  std::string folder_;
};

}  // namespace pleiad::test
