// Who owns which expert: a pure function of the placement rule, the expert widths and the number of owners.
#pragma once
#include <span>
#include <string>
#include <vector>

#include "pleiad/core/real.hpp"

namespace pleiad {

enum class ExpertPlacement { block, round_robin, balanced };
ExpertPlacement expert_placement_from(const std::string& word);

class ExpertMap {
 public:
  ExpertMap() = default;
  /// Deals widths.size() experts out to `owners` owners. block: contiguous runs of nearly equal count; round_robin: expert e to
  /// e mod owners; balanced: widest first to the owner with the least width so far, an equal load per expert assumed.
  ExpertMap(ExpertPlacement rule, const std::vector<i64>& widths, i64 owners);

  /// As a list says: owner [experts], each below `owners`.
  ExpertMap(std::vector<i64> owner, i64 owners);

  /// The same experts dealt out to another number of owners by the same rule.
  /// pre: made by a rule.
  ExpertMap for_owners(i64 owners) const { return ExpertMap(rule_, widths_, owners); }

  i64 experts() const { return static_cast<i64>(owner_.size()); }
  i64 owners() const { return static_cast<i64>(owned_.size()); }
  i64 owner(i64 expert) const { return owner_[expert]; }
  const std::vector<i64>& owner_of_each() const { return owner_; }
  /// Position of the expert among those of its owner (ascending global number).
  i64 local_index(i64 expert) const { return local_[expert]; }
  /// Global numbers of the experts of one owner, ascending; may be empty.
  const std::vector<i64>& owned_by(i64 owner) const { return owned_[owner]; }

 private:
  void number_locally(i64 owners);

  ExpertPlacement rule_ = ExpertPlacement::block;
  std::vector<i64> widths_;
  std::vector<i64> owner_, local_;
  std::vector<std::vector<i64>> owned_;
};

/// Sum of `load` over the experts of each owner.
std::vector<double> load_per_owner(std::span<const double> load, std::span<const i64> owner, i64 owners);

/// Owners under which the heaviest one has less to do, reached from `owner` by moving few experts: as long as that helps by more than
/// `tolerance` of the mean, the heaviest owner gives an expert away or exchanges one for a lighter one.
std::vector<i64> rebalanced_owners(std::span<const double> load, std::vector<i64> owner, i64 owners, double tolerance);

}  // namespace pleiad
