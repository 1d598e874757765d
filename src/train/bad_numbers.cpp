#include "pleiad/train/bad_numbers.hpp"

#include <cmath>
#include <limits>
#include <numeric>

#include "pleiad/comm/collectives.hpp"

namespace pleiad::train {

namespace {

constexpr i64 k_nothing = std::numeric_limits<i64>::max();

/// Number of the first value that is not finite; -1 if all are.
i64 first_bad(std::span<const real> values) {
  constexpr std::size_t block = 4096;
  for (std::size_t at = 0; at < values.size(); at += block) {
    const std::span<const real> part = values.subspan(at, std::min(block, values.size() - at));
    real sum = 0;  // 0 times what is not finite is NaN: no branch for each number
    for (const real v : part) sum += v * real{0};
    if (sum == 0) continue;
    for (std::size_t i = 0; i < part.size(); ++i) {
      if (!std::isfinite(part[i])) return static_cast<i64>(at + i);
    }
  }
  return -1;
}

std::span<const real> row_of(ConstMatrixView m, i64 i) { return {m.row(i), static_cast<std::size_t>(m.cols)}; }

i64 first_bad_row(ConstMatrixView m) {
  for (i64 i = 0; i < m.rows; ++i) {
    if (first_bad(row_of(m, i)) >= 0) return i;
  }
  return -1;
}

std::string place_in(const ParamInfo& p, i64 number) {
  if (!p.row_block()) return fmt::format("{}, number {}", p.name, number);
  return fmt::format("{}, number {} of expert {}", p.name, number % p.cols, p.first_row + number / p.cols);
}

/// What this rank found, the earliest of it.
struct Finding {
  i64 order = k_nothing;
  std::string where;
  void note(i64 when, const std::string& what) {
    if (when < order) order = when, where = what;
  }
};

/// The earliest of all ranks, of the lowest rank that has it.
BadNumbers earliest(const Finding& mine, const comm::Communicator& world) {
  BadNumbers found;
  const i64 first = comm::min_over<i64>(world, mine.order);
  if (first == k_nothing) return found;
  found.rank = comm::min_over<i64>(world, mine.order == first ? world.rank() : world.size());
  found.where = comm::broadcast(world, mine.where, found.rank);
  return found;
}

/// Looks at one rank's part of a step. Orders: 0 weights, then k_stages for each block, then the head, then gradients from the last block to the first.
class Search {
 public:
  Search(ParamSet& params, const model::Model& model, const model::ModelTrace& trace, const comm::ProcessGrid& grid)
      : params_(params), model_(model), trace_(trace), grid_(grid) {}

  Finding run() {
    for (const ParamInfo& p : params_.infos()) {
      const i64 bad = first_bad(params_.slice(p, params_.values(p.owner)));
      if (bad >= 0) found_.note(0, "weight " + place_in(p, bad));
    }
    for (i64 b = 0; b < blocks(); ++b) look_at_block(b);
    note_row(1 + k_stages * blocks(), trace_.log_p.view(), "log-probabilities of the head");
    look_at_gradients();
    return found_;
  }

 private:
  static constexpr i64 k_stages = 4, k_rows_at_once = 4096;

  i64 blocks() const { return static_cast<i64>(model_.blocks().size()); }

  void note_row(i64 order, ConstMatrixView m, const std::string& what) {
    if (const i64 row = first_bad_row(m); row >= 0) found_.note(order, fmt::format("{} (row {})", what, row));
  }

  void look_at_block(i64 b) {
    const model::BlockTrace& block = trace_.blocks[b];
    const i64 order = 1 + k_stages * b;
    note_row(order, block.x_mid.view(), fmt::format("attention of block {}", b));
    if (model_.blocks()[b].moe()) {
      if (block.moe.router) note_row(order + 1, block.moe.router->logits.view(), fmt::format("router logits of block {}", b));
      look_at_experts(b, order + 2);
    }
    note_row(order + 3, b + 1 < blocks() ? trace_.blocks[b + 1].x_in.view() : trace_.x_out.view(), fmt::format("output of block {}", b));
  }

  /// The experts of this rank once more, some rows at a time: whose results are not finite though their tokens are.
  void look_at_experts(i64 b, i64 order) {
    const model::MoeTrace& moe = trace_.blocks[b].moe;
    const model::MoeLayer& layer = *model_.blocks()[b].moe();
    const ConstMatrixView tokens = moe.arrived.tokens;
    const experts::ExpertRows& all = moe.plan.at_experts;
    for (std::size_t first = 0, end = 0; first < all.runs.size(); first = end) {
      experts::ExpertRows some;
      for (; end < all.runs.size() && (end == first || some.rows() < k_rows_at_once); ++end) {
        const experts::ExpertRun& run = all.runs[end];
        some.runs.push_back({run.expert, some.rows(), some.rows() + run.rows()});
        some.token.insert(some.token.end(), all.token.begin() + run.begin, all.token.begin() + run.end);
        some.weight.insert(some.weight.end(), all.weight.begin() + run.begin, all.weight.begin() + run.end);
      }
      Matrix out(some.rows(), tokens.cols);
      std::vector<std::int32_t> place(some.token.size());
      std::iota(place.begin(), place.end(), 0);
      experts::BankTrace scratch;
      layer.bank().forward(params_, tokens, some, scratch, {.into = out.view(), .place = place});
      for (const experts::ExpertRun& run : some.runs) {
        for (i64 row = run.begin; row < run.end; ++row) {
          if (first_bad(row_of(out.view(), row)) < 0 || first_bad(row_of(tokens, some.token[row])) >= 0) continue;
          const i64 expert = layer.expert_map().owned_by(grid_.expert_group().rank())[run.expert];
          return found_.note(order, fmt::format("output of expert {} of block {} (row {} of its {})", expert, b, row - run.begin, run.rows()));
        }
      }
    }
  }

  void look_at_gradients() {
    for (const ParamInfo& p : params_.infos()) {
      if (!p.trainable) continue;
      const i64 order = 2 + k_stages * blocks() + (blocks() - 1 - block_of(p));
      if (!p.row_block()) {
        const i64 bad = first_bad(params_.grad({p.index}).flat());
        if (bad >= 0) found_.note(order, "gradient of " + place_in(p, bad));
        continue;
      }
      const SparseRows& grads = params_.row_grads({p.index});
      for (i64 s = 0; s < grads.count(); ++s) {
        const i64 bad = first_bad({grads.at(s), static_cast<std::size_t>(p.cols)});
        if (bad >= 0) found_.note(order, "gradient of " + place_in(p, grads.touched()[s] * p.cols + bad));
      }
    }
  }

  /// -1 for what belongs to none.
  i64 block_of(const ParamInfo& p) const {
    for (i64 b = 0; b < blocks(); ++b) {
      if (p.name.starts_with(fmt::format("blocks/{}/", b))) return b;
    }
    return -1;
  }

  ParamSet& params_;
  const model::Model& model_;
  const model::ModelTrace& trace_;
  const comm::ProcessGrid& grid_;
  Finding found_;
};

}  // namespace

BadNumbers find_bad_numbers(ParamSet& params, const model::Model& model, const model::ModelTrace& trace, const comm::ProcessGrid& grid) {
  BadNumbers found = earliest(Search(params, model, trace, grid).run(), grid.world());
  if (found.where.empty()) found.where = "loss";  // finite numbers whose sum is not
  return found;
}

BadNumbers find_bad_state(ParamSet& params, Adam& adam, const comm::Communicator& world) {
  Finding mine;
  for (const ParamInfo& p : params.infos()) {
    const auto look = [&](const char* what, std::span<real> block) {
      if (const i64 bad = first_bad(params.slice(p, block)); bad >= 0) mine.note(0, fmt::format("{} {}", what, place_in(p, bad)));
    };
    look("weight", params.values(p.owner));
    if (p.row_block()) {
      const SparseRows& rows = adam.row_moments({p.index}).rows;
      for (i64 s = 0; s < rows.count(); ++s) {
        const i64 bad = first_bad({rows.at(s), static_cast<std::size_t>(rows.width())});
        if (bad >= 0) mine.note(0, fmt::format("moment of {}", place_in(p, rows.touched()[s] * p.cols + bad % p.cols)));
      }
    } else {
      look("first moment of", adam.first(p.owner));
      look("second moment of", adam.second(p.owner));
    }
  }
  return earliest(mine, world);
}

}  // namespace pleiad::train
