// Fixtures with a folder for the files of one test, which goes with all that is in it.
#pragma once
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <optional>
#include <string>

#include "pleiad/comm/collectives.hpp"
#include "pleiad/core/temporary_folder.hpp"

namespace pleiad::test {

class TemporaryFolder : public testing::Test {
 private:
  const pleiad::TemporaryFolder own_;

 protected:
  std::string at(const std::string& name) const { return folder_ + "/" + name; }
  /// Writes a file and returns its path.
  std::string text_file(const std::string& name, const std::string& text) const {
    std::ofstream(at(name), std::ios::binary) << text;
    return at(name);
  }

  const std::string folder_ = own_.path();
};

/// One folder for all ranks; rank 0 makes and removes it.
class SharedFolder : public testing::Test {
 private:
  std::optional<pleiad::TemporaryFolder> of_root_;

 protected:
  SharedFolder() : comm_(comm::Communicator::world()) {
    if (comm_.root()) of_root_.emplace();
    folder_ = comm::broadcast(comm_, of_root_ ? of_root_->path() : "");
  }
  ~SharedFolder() override { comm::barrier(comm_); }
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
