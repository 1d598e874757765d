#include "checkpoint_parts.hpp"

#include <algorithm>
#include <filesystem>
#include <regex>

#include "pleiad/comm/agree.hpp"
#include "pleiad/comm/collectives.hpp"

namespace pleiad::io::detail {

namespace fs = std::filesystem;

namespace {

constexpr const char *k_files = "/parts/files", *k_content = "/parts/content", *k_pieces = "/parts/pieces";

std::string stem_of(const std::string& path) { return fs::path(path).stem().string(); }

void names_below(const H5File& file, const std::string& group, const std::string& prefix, std::vector<std::string>& found) {
  for (const std::string& name : file.list(group)) {
    if (file.is_group(group + "/" + name)) names_below(file, group + "/" + name, prefix + name + "/", found);
    else found.push_back(prefix + name);
  }
}

}  // namespace

std::map<std::string, Destination::Place> places_in_one(const std::map<std::string, Family>& families, bool writes) {
  std::map<std::string, Destination::Place> places;
  for (const auto& [name, family] : families) places[name] = {family.offset.back(), writes ? family.ranges() : std::vector<Range>{}};
  return places;
}

std::map<std::string, Destination::Place> places_on_node(const comm::Communicator& node, const std::map<std::string, Family>& families, bool writes, PieceTable& pieces) {
  std::map<std::string, Destination::Place> places;
  for (const auto& [name, family] : families) {
    std::vector<i64> mine;
    if (writes) {
      for (const Range& r : family.ranges()) mine.insert(mine.end(), {r.begin, r.count, node.rank()});
    }
    const std::vector<i64> all = comm::all_gather_v<i64>(node, std::span<const i64>(mine));
    struct Owned {
      i64 begin, count, rank;
    };
    std::vector<Owned> owned;
    for (std::size_t i = 0; i < all.size(); i += 3) owned.push_back({all[i], all[i + 1], all[i + 2]});
    std::ranges::sort(owned, {}, &Owned::begin);
    Destination::Place& place = places[name];
    std::vector<Piece>& table = pieces[name];
    for (const Owned& o : owned) {
      if (o.rank == node.rank()) place.ranges.push_back({place.extent, o.count});
      if (!table.empty() && table.back().begin + table.back().count == o.begin) table.back().count += o.count;
      else table.push_back({0, o.begin, o.count, place.extent});
      place.extent += o.count;
    }
  }
  return places;
}

std::string part_name(const std::string& path, std::uint64_t save, i64 k) { return fmt::format("{}.{:016x}.part-{}.h5", stem_of(path), save, k); }

bool is_part(const std::string& name, const std::string& of) {
  static const std::regex pattern(R"((.+)\.[0-9a-f]{16}\.part-[0-9]{1,9}\.h5)");
  std::smatch m;
  // A longer one is no file name, and regex_match would need a stack as deep as it is long.
  return name.size() < 256 && name.find('/') == std::string::npos && std::regex_match(name, m, pattern) && (of.empty() || m[1].str() == stem_of(of));
}

void write_parts(H5File& checkpoint, const std::vector<std::string>& names, const std::vector<i64>& content, const PieceTable& pieces) {
  checkpoint.write_texts(k_files, names, "files that hold the experts, one of each node, in this folder");
  checkpoint.write<i64>(k_content, content, {static_cast<i64>(content.size())}, {"1", "sum of the checksums of the datasets in each"});
  for (const auto& [name, table] : pieces) {
    std::vector<i64> flat;
    for (const Piece& p : table) flat.insert(flat.end(), {p.part, p.begin, p.count, p.at});
    checkpoint.write<i64>(std::string(k_pieces) + "/" + name, flat, {static_cast<i64>(table.size()), 4},
                          {"1", "part, begin, count, at: these elements of the packed array stand in that part, from element `at` on"});
  }
}

Parts Parts::of(const H5File& checkpoint) {
  Parts parts;
  if (!checkpoint.exists(k_files)) return parts;
  const fs::path folder = fs::path(checkpoint.path()).parent_path();
  for (const std::string& name : checkpoint.read_texts(k_files)) {
    if (!is_part(name, checkpoint.path())) user_error("{}: {} names '{}', which is no part of this checkpoint", checkpoint.path(), k_files, name);
    parts.files_.push_back((folder / name).string());
  }
  const i64 count = static_cast<i64>(parts.files_.size());
  parts.content_ = checkpoint.read<i64>(k_content, Shape{count});
  std::vector<std::string> names;
  names_below(checkpoint, k_pieces, "", names);
  for (const std::string& name : names) {
    const std::vector<i64> flat = checkpoint.read<i64>(std::string(k_pieces) + "/" + name);
    std::vector<Piece>& table = parts.pieces_[name];
    for (std::size_t i = 0; i + 3 < flat.size(); i += 4) {
      const Piece p{flat[i], flat[i + 1], flat[i + 2], flat[i + 3]};
      i64 end = 0;
      const bool after = table.empty() || p.begin >= table.back().begin + table.back().count;
      if (p.part < 0 || p.part >= count || p.begin < 0 || p.count < 0 || p.at < 0 || __builtin_add_overflow(p.begin, p.count, &end) || !after) {
        user_error("{}: {}/{} holds a piece that makes no sense: part {}, begin {}, count {}, at {}", checkpoint.path(), k_pieces, name, p.part, p.begin, p.count, p.at);
      }
      table.push_back(p);
    }
  }
  return parts;
}

void Parts::verify(const comm::Communicator& comm) const {
  comm::agree_on(comm, [&] {
    for (i64 k = comm.rank(); k < static_cast<i64>(files_.size()); k += comm.size()) {
      const H5File part = H5File::open(files_[k]);
      part.verify();
      if (part.content() != content_[k]) user_error("'{}' is damaged: it is not the file that the checkpoint was saved with", files_[k]);
    }
  });
}

const H5File& Parts::open(i64 part) {
  const auto found = opened_.find(part);
  return found != opened_.end() ? found->second : opened_.emplace(part, H5File::open(files_[part])).first->second;
}

void Parts::read(const std::string& dataset, const std::string& family, const std::vector<Range>& ranges, std::span<real> values) {
  const std::vector<Piece>& table = pieces_[family];
  i64 done = 0;
  for (const Range& wanted : ranges) {
    i64 at = wanted.begin;
    auto piece = std::ranges::find_if(table, [&](const Piece& p) { return p.range().end() > at; });
    while (at < wanted.end()) {
      if (piece == table.end() || piece->begin > at || piece->range().end() <= at) user_error("element {} of {} stands in no part of the checkpoint ({})", at, dataset, fmt::join(files_, ", "));
      const i64 count = std::min(piece->range().end(), wanted.end()) - at;
      open(piece->part).read_rows<real>(dataset, {{piece->at + at - piece->begin, count}}, values.subspan(static_cast<std::size_t>(done), static_cast<std::size_t>(count)));
      at += count;
      done += count;
      ++piece;
    }
  }
}

std::vector<const H5File*> Parts::holding(const std::string& family, const std::vector<Range>& ranges) {
  std::vector<i64> numbers;
  for (const Piece& p : pieces_[family]) {
    const bool meets = std::ranges::any_of(ranges, [&](const Range& r) { return r.begin < p.range().end() && p.begin < r.end(); });
    if (meets && std::ranges::find(numbers, p.part) == numbers.end()) numbers.push_back(p.part);
  }
  std::vector<const H5File*> files;
  for (const i64 k : numbers) files.push_back(&open(k));
  return files;
}

}  // namespace pleiad::io::detail
