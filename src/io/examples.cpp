#include "pleiad/io/examples.hpp"

#include <algorithm>
#include <map>

#include "pleiad/core/error.hpp"
#include "pleiad/io/checksum.hpp"

namespace pleiad::io {

namespace {

constexpr Split k_splits[] = {Split::train, Split::validation, Split::test};

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    lines.push_back(text.substr(at, end - at));
    if (lines.back().ends_with('\r')) lines.back().pop_back();
    at = end + 1;
  }
  return lines;
}

std::string column_of(const std::string& line, i64 column) {
  std::size_t begin = 0;
  for (i64 c = 1; c < column; ++c) begin = line.find('\t', begin) + 1;
  return line.substr(begin, line.find('\t', begin) - begin);
}

/// The texts of one part, before there is a tokenizer.
struct Texts {
  std::vector<std::string> input, target, label;
  i64 empty = 0;  // examples left out
};

Texts read_labelled(const LabelledOptions& o, const std::string& path, std::vector<TextSource>& sources) {
  Texts texts;
  const std::vector<std::string> lines = lines_of(read_text_file(path, o.out, sources));
  for (std::size_t i = o.header ? 1 : 0; i < lines.size(); ++i) {
    if (lines[i].empty()) continue;
    const i64 columns = std::ranges::count(lines[i], '\t') + 1;
    if (columns < std::max(o.text_column, o.label_column)) {
      user_error("{} line {}: has {} tab-separated columns, but column {} is asked for", path, i + 1, columns, std::max(o.text_column, o.label_column));
    }
    const std::string text = column_of(lines[i], o.text_column), label = column_of(lines[i], o.label_column);
    if (label.empty()) user_error("{} line {}: column {} holds no label", path, i + 1, o.label_column);
    if (label.find('\0') != std::string::npos) user_error("{} line {}: the label of column {} holds a byte 0, where its name would end", path, i + 1, o.label_column);
    if (text.empty()) {
      ++texts.empty;
      continue;
    }
    texts.input.push_back(text);
    texts.label.push_back(label);
  }
  if (texts.input.empty()) user_error("{}: holds no example", path);
  return texts;
}

Texts read_pairs(const PairFiles& files, const std::string& out, std::vector<TextSource>& sources) {
  const std::vector<std::string> source = lines_of(read_text_file(files.source, out, sources)), target = lines_of(read_text_file(files.target, out, sources));
  if (source.size() != target.size()) user_error("{} has {} lines and {} has {}: they must have as many", files.source, source.size(), files.target, target.size());
  Texts texts;
  for (std::size_t i = 0; i < source.size(); ++i) {
    if (source[i].empty() || target[i].empty()) {
      ++texts.empty;
      continue;
    }
    texts.input.push_back(source[i]);
    texts.target.push_back(target[i]);
  }
  if (texts.input.empty()) user_error("{}: holds no pair of lines with text", files.source);
  return texts;
}

std::vector<std::string> label_names(const Texts& train) {
  std::vector<std::string> names = train.label;
  std::ranges::sort(names);
  names.erase(std::unique(names.begin(), names.end()), names.end());
  return names;
}

std::string all_text(const Texts& texts) {
  std::string text;
  for (const auto* side : {&texts.input, &texts.target}) {
    for (const std::string& line : *side) text += line + "\n";
  }
  return text;
}

}  // namespace

/// Texts to an examples file; remembers what goes into the fingerprint.
class ExampleWriter {
 public:
  ExampleWriter(H5File& file, const Tokenizer& tokenizer) : file_(file), tokenizer_(tokenizer) { sum_.add(tokenizer.serialise()); }

  void write(Split split, const Texts& texts, const std::vector<std::string>& labels, const std::string& path) {
    const std::string group = fmt::format("/{}/", split_name(split));
    write_lists(group + "input", texts.input, labels.empty() ? "source" : "text");
    if (labels.empty()) return write_lists(group + "target", texts.target, "target");
    std::vector<std::int32_t> label;
    for (const std::string& word : texts.label) {
      const auto at = std::ranges::lower_bound(labels, word);
      if (at == labels.end() || *at != word) user_error("{}: the label '{}' does not occur in the training part", path, word);
      label.push_back(static_cast<std::int32_t>(at - labels.begin()));
    }
    add(label);
    file_.write<std::int32_t>(group + "label", label, {static_cast<i64>(label.size())}, options("1", "label of each example, a place in /labels"));
  }
  std::string fingerprint() { return sum_.hex().substr(0, 16); }

 private:
  static DatasetOptions options(const char* units, const std::string& description) { return {units, description, i64{1} << 16, 4}; }
  template <class T>
  void add(const std::vector<T>& values) {
    sum_.add({reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)});
  }
  void write_lists(const std::string& name, const std::vector<std::string>& texts, const std::string& what) {
    Examples::Lists lists;
    for (const std::string& text : texts) {
      const std::vector<std::int32_t> tokens = tokenizer_.encode(text);
      lists.token.insert(lists.token.end(), tokens.begin(), tokens.end());
      lists.offset.push_back(static_cast<i64>(lists.token.size()));
    }
    add(lists.token);
    add(lists.offset);
    file_.write<std::int32_t>(name, lists.token, {static_cast<i64>(lists.token.size())}, options("token", "tokens of each " + what + ", one after the other"));
    file_.write<i64>(name + "_offset", lists.offset, {static_cast<i64>(lists.offset.size())}, options("token", "first token of each " + what + ", and the end"));
  }

  H5File& file_;
  const Tokenizer& tokenizer_;
  Sha256 sum_;
};

namespace {

struct NamedTexts {
  Split split;
  std::string path;
  Texts texts;
};

void write_examples(const std::vector<NamedTexts>& parts, const std::vector<std::string>& labels, const TokenizerOptions& tokenizer_options,
                    const std::vector<TextSource>& sources, std::string options, Unfinished& unfinished) {
  const Tokenizer tokenizer = tokenizer_options.make([&] { return all_text(parts.front().texts); });
  options = tokenizer_options.words() + options;
  for (const NamedTexts& p : parts) options += fmt::format("{}_left_out_empty = {}\n", split_name(p.split), p.texts.empty);
  H5File file = H5File::create(unfinished.path());
  file.seal();
  write_making(file, k_examples_format, tokenizer, sources, options);
  file.set_attribute("/", "description", labels.empty() ? "pairs of source and target" : "labelled texts");
  if (!labels.empty()) file.write_texts("/labels", labels, "names of the labels");
  ExampleWriter writer(file, tokenizer);
  for (const NamedTexts& p : parts) writer.write(p.split, p.texts, labels, p.path);
  file.set_attribute("/", "fingerprint", writer.fingerprint());
  file.close();
  unfinished.publish();
}

}  // namespace

void build_labelled(const LabelledOptions& o) {
  o.tokenizer.check();
  Unfinished unfinished(o.out, o.force);
  std::vector<TextSource> sources;
  std::vector<NamedTexts> parts;
  for (const auto& [split, path] : {std::pair{Split::train, o.train}, {Split::validation, o.validation}, {Split::test, o.test}}) {
    if (!path.empty() || split != Split::test) parts.push_back({split, path, read_labelled(o, path, sources)});
  }
  const std::vector<std::string> labels = label_names(parts.front().texts);
  if (labels.size() < 2 || labels.size() > 1024) user_error("{}: column {} holds {} different labels; allowed are 2 to 1024", o.train, o.label_column, labels.size());
  write_examples(parts, labels, o.tokenizer, sources, fmt::format("text_column = {}\nlabel_column = {}\nheader = {}\n", o.text_column, o.label_column, o.header), unfinished);
}

void build_pairs(const PairOptions& o) {
  o.tokenizer.check();
  Unfinished unfinished(o.out, o.force);
  std::vector<TextSource> sources;
  std::vector<NamedTexts> parts;
  for (const auto& [split, files] : {std::pair{Split::train, o.train}, {Split::validation, o.validation}, {Split::test, o.test}}) {
    if (!files.source.empty() || split != Split::test) parts.push_back({split, files.source, read_pairs(files, o.out, sources)});
  }
  write_examples(parts, {}, o.tokenizer, sources, "", unfinished);
}

Examples::Lists Examples::read_lists(const H5File& file, const std::string& name, i64 vocab) {
  Lists lists;
  lists.token = file.read<std::int32_t>(name);
  lists.offset = file.read<i64>(name + "_offset");
  const auto& o = lists.offset;
  const bool ascending = !o.empty() && o.front() == 0 && std::ranges::adjacent_find(o, std::greater_equal<>()) == o.end();
  if (!ascending || o.back() != static_cast<i64>(lists.token.size())) user_error("'{}' is damaged: {}_offset does not cut {} into lists with tokens", file.path(), name, name);
  for (const std::int32_t t : lists.token) {
    if (t < 0 || t >= vocab) user_error("'{}' is damaged: token {} in {} with a vocabulary of {}", file.path(), t, name, vocab);
  }
  return lists;
}

Examples Examples::load(const std::string& path) {
  const H5File file = H5File::open(path);
  file.require_format(k_examples_format);
  Examples e;
  e.path_ = path;
  e.fingerprint_ = file.text("/", "fingerprint");
  e.tokenizer_ = read_tokenizer(file);
  if (file.exists("/labels")) {
    e.labels_ = file.read_texts("/labels");
    if (e.labels_.size() < 2) user_error("'{}' is damaged: {} labels", path, e.labels_.size());
  }
  for (const Split split : k_splits) {
    const std::string group = fmt::format("/{}", split_name(split));
    if (split == Split::test && !file.exists(group)) continue;
    Part& part = e.parts_[static_cast<int>(split)];
    part.input = read_lists(file, group + "/input", e.tokenizer_.vocab());
    const i64 count = static_cast<i64>(part.input.offset.size()) - 1;
    if (e.labels_.empty()) {
      part.target = read_lists(file, group + "/target", e.tokenizer_.vocab());
      if (part.target.offset.size() != part.input.offset.size()) user_error("'{}' is damaged: {} has {} sources and {} targets", path, group, count, part.target.offset.size() - 1);
      continue;
    }
    part.label = file.read<std::int32_t>(group + "/label", Shape{count});
    for (const std::int32_t l : part.label) {
      if (l < 0 || l >= static_cast<std::int32_t>(e.labels_.size())) user_error("'{}' is damaged: label {} of {} in {}", path, l, e.labels_.size(), group);
    }
  }
  e.provenance_ = provenance(file);
  verify_content(file);
  return e;
}

Examples Examples::open(const comm::Communicator& comm, const std::string& path) {
  return load_on_all<Examples>(comm, path, fmt::format("'{}'", path));
}

std::vector<std::string> Examples::describe() const {
  std::vector<std::string> lines = {
      fmt::format("{} {} ({})", labels_.empty() ? "pairs" : "labelled texts", path_, k_examples_format),
      fmt::format("tokenizer: {}, vocabulary {}, fingerprint {}", tokenizer_.kind(), tokenizer_.vocab(), tokenizer_.fingerprint()),
      fmt::format("content: fingerprint {}", fingerprint_)};
  for (const Split split : k_splits) {
    const Part& p = part(split);
    const i64 n = count(split);
    if (n == 0) continue;
    i64 longest = 0;
    for (i64 i = 0; i < n; ++i) longest = std::max<i64>(longest, static_cast<i64>(p.input.at(i).size() + (labels_.empty() ? 1 + p.target.at(i).size() : 0)));
    std::string line = fmt::format("{}: {} examples, {} tokens, the longest sequence {}", split_name(split), n, p.input.token.size() + p.target.token.size(), longest);
    for (std::size_t l = 0; l < labels_.size(); ++l) {
      const auto of_label = std::ranges::count(p.label, static_cast<std::int32_t>(l));
      line += fmt::format("{} {:.1f} % '{}'", l == 0 ? ";" : ",", 100.0 * static_cast<double>(of_label) / static_cast<double>(n), labels_[l]);
    }
    lines.push_back(line);
  }
  lines.insert(lines.end(), provenance_.begin(), provenance_.end());
  return lines;
}

std::string decode_pair(const Tokenizer& tokenizer, std::span<const std::int32_t> tokens) {
  const auto cut = std::ranges::find(tokens, separator_token(tokenizer));
  const std::size_t source = static_cast<std::size_t>(cut - tokens.begin());
  return tokenizer.decode(tokens.first(source)) + " => " + tokenizer.decode(tokens.subspan(std::min(source + 1, tokens.size())));
}

}  // namespace pleiad::io
