// Every variant, saved on 1, 2, 3, 4, 6 and 8 ranks and loaded on each of them: weights, moments and the next losses are the bits of one rank that never
// stopped. By default each number is loaded on one other, which differs from variant to variant;
// PLEIAD_TEST_FULL=1 in the environment takes all 36 pairs.
#include <cstdlib>
#include <fstream>
#include <sstream>

#include "pleiad/io/checkpoint_h5.hpp"
#include "support/temporary_folder.hpp"
#include "train/same_state.hpp"

namespace pleiad::train {
namespace {

using model::Keys;

constexpr i64 k_counts[] = {1, 2, 3, 4, 6, 8};
constexpr i64 k_saved_at = 4, k_steps = 6;

struct Variant {
  std::string name;
  Keys moe;
};

/// experiments/variants.txt in small: five experts, fewer than there are ranks.
std::vector<Variant> variants() {
  std::ifstream file(PLEIAD_SOURCE_DIR "/experiments/variants.txt");
  std::vector<Variant> all;
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    Variant v;
    if (!(words >> v.name) || v.name[0] == '#') continue;
    v.moe = {{"experts", "5"}, {"layers", "all"}, {"expert_width", "4"}};
    bool experts = true;
    for (std::string word; words >> word;) {
      if (word[0] == '@') {  // a control: of a run that there is not here
        if (line.find("random_k") != std::string::npos) v.moe["k_histogram"] = "3,2,1";
        else v.moe["mean_k"] = "1.5";
        continue;
      }
      const std::size_t equals = word.find('=');
      std::string key = word.substr(std::string("moe.").size(), equals - std::string("moe.").size()), value = word.substr(equals + 1);
      if (key == "sub_keys") value = "5", experts = false;
      if (key == "query_dim") value = "4";
      if (key == "k" && value == "16") value = "3";
      if (key == "split") value = "2";
      if (value == "dense") experts = false;
      v.moe[key] = value;
    }
    if (!experts) v.moe.erase("experts"), v.moe.erase("expert_width");
    if (v.name == "dense") v.moe.erase("layers");
    all.push_back(v);
  }
  return all;
}

class ResumeMatrix : public test::SharedFolder {
 protected:
  std::string path(i64 ranks) const { return at(fmt::format("of_{}.h5", ranks)); }
  static TinyRun make(const comm::Communicator& ranks, const Keys& moe) {
    return {{ranks.split(0, ranks.rank()), 1}, moe, {{"steps", std::to_string(k_steps)}, {"eval_every", "0"}, {"warmup_steps", "2"}}};
  }
};

TEST_F(ResumeMatrix, EveryVariantOnEveryNumberOfRanks) {
  const bool all_pairs = std::getenv("PLEIAD_TEST_FULL") != nullptr;
  std::vector<comm::Communicator> first;  // the first n ranks; the others are by themselves together
  for (const i64 n : k_counts) first.push_back(comm_.split(comm_.rank() < n ? 0 : 1, comm_.rank()));
  i64 pairs = 0, number = 0;
  for (const Variant& v : variants()) {
    SCOPED_TRACE(v.name);
    TinyRun truth = make(test::just_me(), v.moe), saved = make(test::just_me(), v.moe);
    truth.trainer->run(*truth.state, k_steps);
    saved.trainer->run(*saved.state, k_saved_at);
    for (std::size_t i = 0; i < first.size(); ++i) {
      if (comm_.rank() < k_counts[i]) {
        TinyRun run = make(first[i], v.moe);
        run.trainer->run(*run.state, k_saved_at);
        io::write_checkpoint(run.tiny.grid, path(k_counts[i]), {k_saved_at, {}, model::k_tiny_vocab, "", io::Tokenizer(), "x"}, run.tiny.params, &*run.adam);
      }
      comm::barrier(comm_);
    }
    for (std::size_t i = 0; i < first.size(); ++i) {
      for (std::size_t j = 0; j < first.size(); ++j) {
        if (!all_pairs && (i + j + static_cast<std::size_t>(number)) % first.size() != 0) continue;
        ++pairs;
        if (comm_.rank() < k_counts[j]) {
          SCOPED_TRACE(fmt::format("saved on {} ranks, loaded on {}", k_counts[i], k_counts[j]));
          TinyRun run = make(first[j], v.moe);
          io::load_checkpoint(run.tiny.grid, path(k_counts[i]), run.tiny.params, &*run.adam);
          run.state->step = k_saved_at;
          expect_same_parameters(run, saved);
          run.trainer->run(*run.state, k_steps);
          for (i64 step = k_saved_at; step < k_steps; ++step) {
            EXPECT_EQ(run.sink.records[static_cast<std::size_t>(step - k_saved_at)].loss.total, truth.sink.records[static_cast<std::size_t>(step)].loss.total) << "step " << step + 1;
          }
          expect_same_parameters(run, truth);
        }
        comm::barrier(comm_);
      }
    }
    ++number;
  }
  EXPECT_GE(number, 20) << "variants";
  if (comm_.root()) std::cout << pairs << " pairs of " << number << " variants" << std::endl;
}

}  // namespace
}  // namespace pleiad::train
