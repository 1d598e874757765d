// Who owns which expert: a pure function of the placement rule, the expert widths and the number of owners.
#pragma once
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

  /// The same experts dealt out to another number of owners by the same rule.
  ExpertMap for_owners(i64 owners) const { return ExpertMap(rule_, widths_, owners); }

  i64 experts() const { return static_cast<i64>(owner_.size()); }
  i64 owners() const { return static_cast<i64>(owned_.size()); }
  i64 owner(i64 expert) const { return owner_[expert]; }
  /// Position of the expert among those of its owner (ascending global number).
  i64 local_index(i64 expert) const { return local_[expert]; }
  /// Global numbers of the experts of one owner, ascending; may be empty.
  const std::vector<i64>& owned_by(i64 owner) const { return owned_[owner]; }

 private:
  ExpertPlacement rule_ = ExpertPlacement::block;
  std::vector<i64> widths_;
  std::vector<i64> owner_, local_;
  std::vector<std::vector<i64>> owned_;
};

}  // namespace pleiad
