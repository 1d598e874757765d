// Private to the sources of checkpoint_h5.hpp: checkpoints whose experts lie in files of their own, one for each node (checkpoint.files = per_node). The
// checkpoint itself, which one rank writes last, names them and says which elements of the packed arrays each holds:
//   /parts/files     names, in the same folder: STEM.SAVE.part-K.h5, where SAVE differs from save to save
//   /parts/content   sum of the checksums of each one's datasets
//   /parts/pieces/F  [R,4] part, begin, count, at: elements begin .. begin+count-1 of F stand in that part, from element `at` on
#pragma once
#include "checkpoint_families.hpp"

namespace pleiad::io::detail {

/// Where the experts of this rank go: a file that the ranks of `comm` write together.
struct Destination {
  struct Place {
    i64 extent = 0;             ///< elements of the dataset
    std::vector<Range> ranges;  ///< this rank's among them, in the order of Family::ranges()
  };
  H5File& file;
  const comm::Communicator& comm;
  std::map<std::string, Place> places;  ///< by family
};

/// Elements of a family, and where they stand.
struct Piece {
  i64 part = 0, begin = 0, count = 0, at = 0;
  Range range() const { return {begin, count}; }
};
using PieceTable = std::map<std::string, std::vector<Piece>>;

/// One packed array of each family in the order of the experts: a checkpoint of one file. `writes`: whether this rank does.
std::map<std::string, Destination::Place> places_in_one(const std::map<std::string, Family>& families, bool writes);
/// What the ranks of a node have, one after the other in the order of the experts; `pieces` says of all of it where it stands (part 0). collective over the node.
std::map<std::string, Destination::Place> places_on_node(const comm::Communicator& node, const std::map<std::string, Family>& families, bool writes, PieceTable& pieces);

/// A name for the part of node `k` of the checkpoint `path`.
std::string part_name(const std::string& path, std::uint64_t save, i64 k);
/// Whether a file name is that of a part of the checkpoint with the file name `of`; of any checkpoint if `of` is empty.
bool is_part(const std::string& name, const std::string& of = "");

/// The parts of a checkpoint, for reading.
class Parts {
 public:
  /// None if the checkpoint is one file. UserError if what it says of them makes no sense. collective if the file is.
  static Parts of(const H5File& checkpoint);

  bool none() const { return files_.empty(); }
  const std::vector<std::string>& files() const { return files_; }  ///< paths
  /// UserError on all ranks if one is missing, damaged or of another save; each rank looks at its share. collective.
  void verify(const comm::Communicator& comm) const;

  /// Elements of a dataset of a family, packed; opens the parts that hold them. UserError if some stand nowhere. Local.
  void read(const std::string& dataset, const std::string& family, const std::vector<Range>& ranges, std::span<real> values);
  /// The parts that hold any of these elements, opened. Local.
  std::vector<const H5File*> holding(const std::string& family, const std::vector<Range>& ranges);

 private:
  const H5File& open(i64 part);

  std::vector<std::string> files_;
  std::vector<i64> content_;
  PieceTable pieces_;
  std::map<i64, H5File> opened_;
};

/// Adds what the checkpoint says of its parts. pre: pieces ascend.
void write_parts(H5File& checkpoint, const std::vector<std::string>& names, const std::vector<i64>& content, const PieceTable& pieces);

}  // namespace pleiad::io::detail
