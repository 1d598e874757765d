// HDF5 files written and read by all ranks together: unequal shares, ranks without data, and errors that all ranks
// share.
#include "pleiad/io/h5.hpp"

#include "support/problem.hpp"
#include "support/temporary_folder.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <semaphore.h>
#include <unistd.h>

namespace pleiad::io {
namespace {

class H5MpiTest : public test::SharedFolder {
 protected:
  template <class Action>
  std::string problem_of(Action&& action) const {
    return test::problem_on_all(comm_, action);
  }
};

template <class T>
std::span<const T> view(const std::vector<T>& v) {
  return v;
}

TEST_F(H5MpiTest, RowsOfAllRanksMakeOneDataset) {
  // Experts dealt round robin, 3 rows each; with more than two ranks the last one has none.
  const i64 experts = 7, owners = std::max<i64>(1, std::min<i64>(comm_.size(), 3) - (comm_.size() > 2 ? 1 : 0)),
            width = 5;
  std::vector<Range> mine, irregular;
  std::vector<float> values;
  for (i64 e = 0; e < experts; ++e) {
    if (e % owners != comm_.rank()) continue;
    mine.push_back({3 * e, 3});
    for (i64 i = 0; i < 3 * width; ++i) values.push_back(static_cast<float>(3 * e * width + i));
  }
  for (int deflate : {0, 3}) {
    const std::string path = at(fmt::format("rows{}.h5", deflate));
    H5File f = H5File::create(comm_, path);
    f.set_attribute("/", "format", "pleiad-test/1");
    f.create_dataset("/params/w", ElementType::float32, {3 * experts, width},
                     {.units = "1", .chunk_rows = deflate ? 4 : 0, .deflate = deflate});
    f.write_rows("/params/w", mine, view(values));
    f.write("/step", view(std::vector<i64>{42}), {});
    f.write("/table", view(std::vector<double>(100, 0.25)), {100}, {.deflate = deflate});
    f.write("/none", view(std::vector<float>{}), {0});
    f.write_texts("/names", {"a", "bc"}, "names");
    f.flush();
    f.close();

    H5File g = H5File::open(comm_, path);
    g.require_format("pleiad-test/1");
    EXPECT_TRUE(g.exists("/params/w"));
    EXPECT_FALSE(g.exists("/params/v/w"));
    EXPECT_EQ(g.list(), (std::vector<std::string>{"names", "none", "params", "step", "table"}));
    const std::vector<double> all = g.read<double>("/params/w", Shape{3 * experts, width});
    for (i64 i = 0; i < 3 * experts * width; ++i) EXPECT_EQ(all[static_cast<std::size_t>(i)], static_cast<double>(i));
    EXPECT_EQ(g.read<i64>("/step"), std::vector<i64>{42});
    EXPECT_EQ(g.read<double>("/table"), std::vector<double>(100, 0.25));
    EXPECT_TRUE(g.read<float>("/none").empty());
    EXPECT_EQ(g.read_texts("/names"), (std::vector<std::string>{"a", "bc"}));
    // Back to other owners: rank r takes rows r, r+1 of every 10; beyond the first four ranks nobody.
    std::vector<Range> rows;
    if (comm_.rank() < 4) rows = {{comm_.rank(), 2}, {10 + comm_.rank(), 1}};
    std::vector<float> got(rows.empty() ? 0 : 3 * width);
    g.read_rows<float>("/params/w", rows, got);
    for (std::size_t i = 0; i < got.size(); ++i) {
      const i64 k = static_cast<i64>(i), row = k / width < 2 ? comm_.rank() + k / width : 10 + comm_.rank();
      EXPECT_EQ(got[i], static_cast<float>(row * width + k % width));
    }
    g.close();
  }
}

// More than fits one transfer: in pieces of at least a row, as many on every rank, whatever each has.
TEST_F(H5MpiTest, LargeTransfersGoInPieces) {
  const i64 ranks = comm_.size(), me = comm_.rank(), width = 3, each = 10;
  // Rank r has 10 r rows in two runs; the first rank has none.
  std::vector<Range> mine;
  std::vector<double> values;
  const i64 begin = each * me * (me - 1) / 2, all = std::max<i64>(1, each * ranks * (ranks - 1) / 2);
  if (me > 0) mine = {{begin, 4}, {begin + 4, each * me - 4}};
  for (i64 i = 0; i < each * me * width; ++i) values.push_back(static_cast<double>(begin * width + i));
  for (const i64 piece : {i64{1}, i64{24}, i64{100}, i64{1000}}) {
    H5File f = H5File::create(comm_, at("pieces.h5"));
    f.set_piece_bytes(piece);
    f.create_dataset("/x", ElementType::float64, {all, width}, {});
    f.write_rows("/x", mine, view(values));
    f.write("/whole", view(std::vector<i64>{1, 2, 3, 4, 5, 6, 7}), {7});
    f.write("/one", view(std::vector<i64>{9}), {});
    f.close();
    H5File g = H5File::open(comm_, at("pieces.h5"));
    g.set_piece_bytes(piece);
    std::vector<double> got(values.size());
    g.read_rows<double>("/x", mine, got);
    EXPECT_EQ(got, values) << "pieces of " << piece;
    EXPECT_EQ(g.read<i64>("/whole"), (std::vector<i64>{1, 2, 3, 4, 5, 6, 7}));
    EXPECT_EQ(g.read<i64>("/one"), std::vector<i64>{9});
    const std::vector<double> whole = ranks > 1 ? g.read<double>("/x") : std::vector<double>{};
    for (std::size_t i = 0; i < whole.size(); ++i) EXPECT_EQ(whole[i], static_cast<double>(i));
    g.close();
  }
}

TEST_F(H5MpiTest, ErrorsOfOneRankAreErrorsOfAll) {
  H5File f = H5File::create(comm_, at("a.h5"));
  f.create_dataset("/x", ElementType::float32, {4}, {});
  std::vector<Range> rows;
  std::vector<float> values;
  if (comm_.rank() == comm_.size() - 1) rows = {{3, 2}}, values = {1, 2};
  EXPECT_MENTIONS(problem_of([&] { f.write_rows("/x", rows, view(values)); }),
                  "has 4 rows; rows 3 to 4 were asked for");
  EXPECT_MENTIONS(problem_of([&] { f.read<float>("/y"); }), "cannot open '/y'");
  EXPECT_MENTIONS(problem_of([&] { f.text("/", "format"); }), "is missing");
  f.close();
}

// What is left where Open MPI took its semaphore for a file and was killed: a run that goes on saves under the same name and must not wait for it.
TEST_F(H5MpiTest, ARankThatWasKilledWhileItOpenedTheFileHoldsUpNobody) {
  for (const char* action : {"create", "open"}) {
    const std::string name = comm::broadcast(comm_, fmt::format("taken-{}-{}.h5", action, getpid()));
    if (std::string(action) == "open") H5File::create(comm_, at(name)).close();
    sem_t* semaphore = comm_.root() ? sem_open(("/OMPIO_" + name).c_str(), O_CREAT, 0644, 0) : SEM_FAILED;
    EXPECT_EQ(semaphore != SEM_FAILED, comm_.root());
    comm::barrier(comm_);
    std::string(action) == "open" ? H5File::open(comm_, at(name)).close() : H5File::create(comm_, at(name)).close();
    if (!comm_.root()) continue;
    sem_close(semaphore);
    sem_unlink(("/OMPIO_" + name).c_str());
  }
}

TEST_F(H5MpiTest, BadFilesAreOneError) {
  if (comm_.root()) std::ofstream(at("text.h5")) << "not HDF5 at all\n";
  comm::barrier(comm_);
  EXPECT_MENTIONS(problem_of([&] { H5File::open(comm_, at("none.h5")); }), "No such file");
  EXPECT_MENTIONS(problem_of([&] { H5File::open(comm_, at("text.h5")); }), "is not an HDF5 file");
  EXPECT_MENTIONS(problem_of([&] { H5File::create(comm_, at("no/such/a.h5")); }), "No such file");

  // A file that only the first rank can see: the others look into a folder of their own.
  const std::string own = own_folder();
  if (comm_.root()) H5File::create(own + "/here.h5");
  comm::barrier(comm_);
  if (comm_.size() == 1) return;
  EXPECT_MENTIONS(problem_of([&] { open_for_all(comm_, own + "/here.h5"); }), "No such file");
  EXPECT_MENTIONS(problem_of([&] { H5File::open(comm_, own + "/here.h5"); }), "No such file");
  EXPECT_MENTIONS(problem_of([&] { H5File::create(comm_, own + "/new.h5"); }), "No such file");
}

}  // namespace
}  // namespace pleiad::io
