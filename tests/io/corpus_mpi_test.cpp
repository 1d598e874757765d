// Opening a corpus on all ranks: the same content everywhere, or one error on all of them.
#include "pleiad/io/corpus.hpp"

#include "pleiad/io/synth.hpp"
#include "support/problem.hpp"
#include "support/temporary_folder.hpp"

#include <gtest/gtest.h>

namespace pleiad::io {
namespace {

namespace fs = std::filesystem;

class CorpusMpiTest : public test::SharedFolder {
 protected:
  std::string problem_of_opening(const std::string& path) const {
    return test::problem_on_all(comm_, [&] { Corpus::open(comm_, path); });
  }
};

TEST_F(CorpusMpiTest, AllRanksReadTheSame) {
  const std::string path = at("c.h5");
  if (comm_.root()) synth_corpus({.tokens = 12800}, path);
  comm::barrier(comm_);
  const Corpus c = Corpus::open(comm_, path);
  std::vector<std::int32_t> window(129);
  c.read_window(Split::train, c.batches(128, 9).train_start(0, 0), window);
  std::vector<std::int32_t> of_root = window;
  comm::broadcast<std::int32_t>(comm_, of_root);
  EXPECT_EQ(window, of_root);
}

TEST_F(CorpusMpiTest, BadFilesAreOneError) {
  if (comm_.root()) std::ofstream(at("text.h5")) << "not HDF5\n";
  comm::barrier(comm_);
  EXPECT_MENTIONS(problem_of_opening(at("none.h5")), "No such file");
  EXPECT_MENTIONS(problem_of_opening(at("text.h5")), "is not an HDF5 file");
}

TEST_F(CorpusMpiTest, PresentOnOneRankOnly) {
  if (comm_.size() == 1) return;
  // The same name leads every rank to a folder of its own, as with local disks.
  fs::current_path(own_folder());
  if (comm_.root()) synth_corpus({.tokens = 1280}, "c.h5");
  comm::barrier(comm_);
  const std::string problem = problem_of_opening("c.h5");
  EXPECT_MENTIONS(problem, "cannot open 'c.h5': No such file");
  EXPECT_MENTIONS(problem, "the other ranks do not have this problem");
  fs::current_path("/");
}

TEST_F(CorpusMpiTest, DifferentContentUnderOneName) {
  if (comm_.size() == 1) return;
  fs::current_path(own_folder());
  synth_corpus({.tokens = 1280, .seed = comm_.root() ? 1u : 2u}, "c.h5");
  EXPECT_MENTIONS(problem_of_opening("c.h5"), "the content of corpus 'c.h5' differs between ranks");
  fs::current_path("/");
}

}  // namespace
}  // namespace pleiad::io
