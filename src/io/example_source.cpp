#include "pleiad/io/example_source.hpp"

#include <algorithm>

#include "pleiad/core/error.hpp"
#include "pleiad/core/random.hpp"

namespace pleiad::io {

ExampleSource::ExampleSource(const Examples& examples, i64 seq_len, std::uint64_t seed, Split split)
    : examples_(examples), seq_len_(seq_len), seed_(seed), split_(split), trained_(usable(Split::train)), evaluated_(usable(split)) {}

std::vector<i64> ExampleSource::usable(Split split) {
  std::vector<i64> list;
  i64 too_long = 0;
  const bool pairs = examples_.task() == model::Task::seq2seq;
  for (i64 i = 0; i < examples_.count(split); ++i) {
    const i64 length = static_cast<i64>(examples_.input(split, i).size() + (pairs ? 1 + examples_.target(split, i).size() : 0));
    too_long += length > seq_len_;
    if (!pairs || length <= seq_len_) list.push_back(i);
  }
  if (list.empty()) {
    user_error("'{}': its {} part has no example of at most model.seq_len = {} tokens", examples_.path(), split_name(split), seq_len_);
  }
  if (too_long > 0) {
    note_ += fmt::format("{}{} of {} {} examples are longer than model.seq_len = {} and {}", note_.empty() ? "" : "; ", too_long, examples_.count(split),
                         split_name(split), seq_len_, pairs ? "left out" : "cut");
  }
  return list;
}

void ExampleSource::add(Split split, i64 example, i64 seq_len, model::Batch& batch) const {
  const auto put = [&](std::vector<std::int32_t>& list, std::span<const std::int32_t> tokens) { list.insert(list.end(), tokens.begin(), tokens.end()); };
  const std::span<const std::int32_t> input = examples_.input(split, example);
  const std::size_t begin = batch.input.size();
  if (examples_.task() == model::Task::classifier) {
    put(batch.input, input.first(std::min(input.size(), static_cast<std::size_t>(seq_len))));
    batch.target.push_back(examples_.label(split, example));
  } else {
    // source, separator, target; predicted are the target and its end, from the separator on.
    const std::span<const std::int32_t> target = examples_.target(split, example);
    put(batch.input, input);
    batch.input.push_back(separator_token(examples_.tokenizer()));
    put(batch.input, target);
    batch.target.resize(begin + input.size(), -1);
    put(batch.target, target);
    batch.target.push_back(end_token(examples_.tokenizer()));
    batch.target.resize(begin + static_cast<std::size_t>(seq_len), -1);
    batch.prefix.push_back(static_cast<i64>(input.size()) + 1);
  }
  batch.length.push_back(static_cast<i64>(batch.input.size() - begin));
  batch.input.resize(begin + static_cast<std::size_t>(seq_len), 0);
}

const std::vector<i64>& ExampleSource::order_of(i64 epoch) {
  std::erase_if(orders_, [&](const auto& other) { return other.first < epoch - 1; });
  const auto [at, fresh] = orders_.try_emplace(epoch, trained_);
  if (fresh) {
    const Stream draw(seed_, Purpose::shuffle, 0, static_cast<std::uint64_t>(epoch));
    for (std::size_t i = at->second.size(); i > 1; --i) std::swap(at->second[i - 1], at->second[draw.below(i, i)]);
  }
  return at->second;
}

model::Batch ExampleSource::training(i64 step, const LaneLayout& lanes) {
  model::Batch batch;
  const Range mine = lanes.my_sequences();
  const i64 count = static_cast<i64>(trained_.size());
  for (i64 s = mine.begin; s < mine.end(); ++s) {
    const i64 number = step * lanes.sequences() + s;
    add(Split::train, order_of(number / count)[number % count], lanes.seq_len(), batch);
  }
  return batch;
}

model::Batch ExampleSource::evaluation(i64 first, const LaneLayout& lanes, train::Truth&) {
  model::Batch batch;
  const Range mine = lanes.my_sequences();
  for (i64 s = mine.begin; s < mine.end(); ++s) add(split_, evaluated_[first + s], lanes.seq_len(), batch);
  return batch;
}

}  // namespace pleiad::io
