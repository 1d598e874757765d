#include "pleiad/io/golden.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "pleiad/comm/agree.hpp"
#include "pleiad/comm/collectives.hpp"
#include "pleiad/routing/registry.hpp"

namespace pleiad::io {

namespace {

constexpr const char* k_layer_format = "moe-golden-layer/1";
constexpr const char* k_model_format = "moe-golden-model/1";

std::vector<std::string> split(const std::string& list) {
  std::vector<std::string> items;
  std::size_t at = 0;
  while (at <= list.size() && list != "none" && !list.empty()) {
    const std::size_t comma = std::min(list.find(',', at), list.size());
    std::string item = list.substr(at, comma - at);
    std::erase(item, ' ');
    items.push_back(item);
    at = comma + 1;
  }
  return items;
}

}  // namespace

GoldenFile::GoldenFile(const comm::Communicator& comm, const std::string& path) : file_(open_for_all(comm, path)) {
  comm::agree_on(comm, [&] {
    const std::string format = file_.has_attribute("/", "format") ? file_.text("/", "format") : "";
    layer_ = format == k_layer_format;
    if (!layer_ && format != k_model_format) {
      user_error("{}: format '{}' is not a verification file; allowed are {} and {}", path, format, k_layer_format, k_model_format);
    }
  });
}

i64 GoldenFile::integer(const std::string& attribute, i64 low, i64 high) const {
  double whole = 0;
  const double stored = number(attribute);
  if (std::modf(stored, &whole) != 0 || std::abs(whole) > 9e15) user_error("{}: attribute {} = {}: an integer is needed", file_.path(), attribute, stored);
  const i64 value = static_cast<i64>(whole);
  if (value < low || value > high) user_error("{}: attribute {} = {}: must be from {} to {}", file_.path(), attribute, value, low, high);
  return value;
}

double GoldenFile::number(const std::string& attribute) const {
  if (file_.has_attribute("/", attribute) && file_.is_text("/", attribute) && file_.text("/", attribute) == "none") return 0;
  const double value = file_.number("/", attribute);
  if (!std::isfinite(value)) user_error("{}: attribute {} is not a finite number", file_.path(), attribute);
  return value;
}

std::string GoldenFile::text(const std::string& attribute) const {
  if (!file_.has_attribute("/", attribute) || file_.is_text("/", attribute)) return file_.text("/", attribute);
  const i64 value = file_.integer("/", attribute);  // a list of one number may come as that number
  return value == 0 ? "none" : fmt::format("{}", value);
}

i64 GoldenFile::integer_or_0(const std::string& attribute, i64 low, i64 high) const {
  return file_.has_attribute("/", attribute) ? integer(attribute, low, high) : 0;
}
double GoldenFile::number_or_0(const std::string& attribute) const { return file_.has_attribute("/", attribute) ? number(attribute) : 0; }
std::string GoldenFile::text_or_none(const std::string& attribute) const { return file_.has_attribute("/", attribute) ? text(attribute) : "none"; }

std::vector<i64> GoldenFile::integers(const std::string& attribute) const {
  Spec list(file_.path(), {{attribute, text_or_none(attribute)}});
  return list.integers(attribute, {}, 0, std::numeric_limits<i64>::max(), "a list of the verification file");
}

void GoldenFile::read_hyper_sizes(const std::string& prefix, Spec& moe) const {
  const std::string shared = prefix.empty() ? "/params/hyper/" : "/params/hyper_shared/";
  const std::vector<i64> layers = prefix.empty() ? std::vector<i64>{} : integers("moe_layers");
  const std::string own = layers.empty() ? "/params/hyper/" : fmt::format("/params/blocks/{}/ffn/hyper/", layers.front());
  const auto extent = [&](const std::string& dataset, std::size_t axis) { return fmt::format("{}", file_.extent(dataset, axis)); };
  moe.set("hyper", "true");
  moe.set("hyper_embedding", extent(own + "sel_w1", 1));
  moe.set("hyper_hidden", extent(own + "sel_w1", 0));
  moe.set("hyper_query", extent(own + "sel_w2", 0));
  moe.set("hyper_layer_embedding", extent(shared + "layer_embedding", 1));
  moe.set("hyper_trunk", extent(shared + "trunk_w", 0));
  moe.set("hyper_bottleneck", extent(shared + "down_bias_w", 0));
}

Spec GoldenFile::moe_section(const std::string& prefix) const {
  constexpr i64 any = std::numeric_limits<i64>::max();
  const auto count = [&](const std::string& name) { return integer_or_0(prefix + name, -any, any); };
  const auto value = [&](const std::string& name) { return number_or_0(prefix + name); };
  const auto word = [&](const std::string& name) { return text_or_none(prefix + name); };

  const std::string router = word("router");
  const std::vector<std::string> known = routing::router_names();
  if (std::ranges::find(known, router) == known.end()) {
    user_error("{}: {}router = {} is not supported; supported are {}", file_.path(), prefix, router, fmt::join(known, ", "));
  }
  Spec moe("moe", {{"router", router},
                   {"experts", fmt::format("{}", count("experts"))},
                   {"expert_widths", word("expert_widths")},
                   {"activation", word("activation")},
                   {"expert_bias", count("expert_bias") != 0 ? "true" : "false"}});
  if (count("hyper") != 0) read_hyper_sizes(prefix, moe);
  if (router == "dense") return moe;
  if (router == "peer" || router == "pkm") {
    for (const char* key : {"heads", "k", "query_dim", "sub_keys"}) moe.set(key, fmt::format("{}", count(key)));
    moe.set("shared_keys", count("shared_keys") != 0 ? "true" : "false");
    moe.set("batch_norm", word("batch_norm") != "none" ? "true" : "false");
    if (word("batch_norm") != "none") {
      moe.set("bn_eps", fmt::format("{}", value("bn_eps")));
      moe.set("bn_momentum", fmt::format("{}", value("bn_momentum")));
    }
    for (const char* loss : {"balance", "z", "entropy", "penalty", "importance", "load"}) {
      if (value(std::string("coef_") + loss) != 0) moe.set(std::string(loss) + "_loss", "1");  // refused by name
    }
    moe.erase("experts");
    moe.erase("expert_widths");
    moe.erase("expert_bias");
    if (router == "pkm") moe.erase("activation");
    return moe;
  }
  const auto is = [&](std::initializer_list<const char*> names) { return std::ranges::find(names, router) != names.end(); };
  if (is({"topk", "noisy_topk", "sigmoid_bias"})) moe.set("k", fmt::format("{}", count("k")));
  if (is({"topk", "threshold"})) moe.set("renormalize", count("renormalize") != 0 ? "true" : "false");
  if (router == "topp") moe.set("p", fmt::format("{}", value("p")));
  if (router == "threshold") moe.set("threshold", fmt::format("{}", value("threshold")));
  if (router == "expert_choice") moe.set("choices", fmt::format("{}", value("c")));
  if (router == "sigmoid_bias") {
    moe.set("gate_scale", fmt::format("{}", value("gate_scale")));
    moe.set("bias_rate", fmt::format("{}", value("bias_rate")));
  }
  if (router == "damoe") {
    const std::string mode = word("damoe_mode");
    if (mode != "rowmax" && mode != "budget" && mode != "causal") {
      user_error("{}: {}damoe_mode = {} is not supported; supported are rowmax, budget, causal", file_.path(), prefix, mode);
    }
    moe.set("k_rule", mode == "rowmax" ? "literal" : mode);
    moe.set("k_max", fmt::format("{}", std::min(count("k_max"), count("experts"))));
    moe.set("raw_if_single", count("raw_if_single") != 0 ? "true" : "false");
    if (mode == "budget") moe.set("k_mean", fmt::format("{}", value("kbar")));
  }
  if (value("capacity_factor") > 0) {
    moe.set("capacity_factor", fmt::format("{}", value("capacity_factor")));
    moe.set("min_capacity", fmt::format("{}", count("min_capacity")));
    moe.set("capacity_order", word("capacity_order"));
  }
  if (word("balance_mode") != "none") moe.set("balance_mode", word("balance_mode"));
  // What the variant does not know is refused by name when the section is finished.
  for (const char* loss : {"balance", "z", "entropy", "penalty", "importance", "load"}) {
    const double coefficient = value(std::string("coef_") + loss);
    if (coefficient != 0) moe.set(std::string(loss) + "_loss", fmt::format("{}", coefficient));
  }
  for (const std::string& loss : split(word("aux_losses"))) {
    if (value("coef_" + loss) == 0) user_error("{}: {}aux_losses names {}, but {}coef_{} is 0 or missing", file_.path(), prefix, loss, prefix, loss);
  }
  return moe;
}

std::vector<std::string> GoldenFile::names_below(const std::string& group) const {
  std::vector<std::string> names;
  if (!file_.exists(group)) return names;
  const std::function<void(const std::string&, const std::string&)> walk = [&](const std::string& at, const std::string& relative) {
    for (const std::string& child : file_.list(at)) {
      const std::string path = at + "/" + child, name = relative.empty() ? child : relative + "/" + child;
      if (file_.is_group(path)) {
        walk(path, name);
      } else {
        names.push_back(name);
      }
    }
  };
  walk(group, "");
  return names;
}

void GoldenFile::load_parameters(const comm::Communicator& comm, ParamSet& params) const {
  std::vector<std::string> names;
  comm::agree_on(comm, [&] {
    names = names_below("/params");
    for (i64 i = 0; i < params.count(); ++i) {
      const ParamInfo info = params.info({i});
      const std::string path = "/params/" + info.name;
      if (!file_.exists(path)) user_error("{}: parameter {} is missing", file_.path(), path);
      const std::vector<real> values = file_.read<real>(path, info.shape);
      std::copy_n(values.begin() + info.first_element(), info.size(), params.value({i}).data);
      const auto flag = [&](const char* name, bool otherwise) { return file_.has_attribute(path, name) ? file_.integer(path, name) != 0 : otherwise; };
      params.set_options({i}, flag("trainable", info.trainable), flag("decay", info.decay));
    }
  });
  // A parameter that no rank knows would silently not take part.
  std::vector<i64> known(names.size(), 0);
  for (std::size_t i = 0; i < names.size(); ++i) known[i] = params.find(names[i]) != nullptr;
  comm::all_reduce_max<i64>(comm, known);
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (!known[i]) user_error("{}: the options of the file do not use its parameter /params/{}", file_.path(), names[i]);
  }
}

void GoldenFile::write_results(const std::string& path, const GoldenResults& results) const {
  H5File out = H5File::create(path);
  for (const std::string& name : file_.attributes("/")) {
    try {
      out.set_attribute("/", name, file_.integer("/", name));
    } catch (const UserError&) {
      try {
        out.set_attribute("/", name, file_.number("/", name));
      } catch (const UserError&) {
        const std::string text = file_.text("/", name);
        if (text.size() > 10000) user_error("{}: attribute {} has {} bytes; at most 10000 are allowed", file_.path(), name, text.size());
        out.set_attribute("/", name, text);
      }
    }
  }
  out.set_attribute("/", "computed_by", fmt::format("pleiad, {}", k_real_name));
  for (const char* group : {"/input", "/data", "/params"}) {
    for (const std::string& name : names_below(group)) {
      const std::string dataset = std::string(group) + "/" + name;
      const std::string type = file_.type_name(dataset);
      const Shape shape = file_.shape(dataset);
      if (type.starts_with("int") || type.starts_with("uint")) {
        out.write<i64>(dataset, file_.read<i64>(dataset), shape, {"1", "copied from the verification file"});
      } else {
        out.write<float>(dataset, file_.read<float>(dataset), shape, {"1", "copied from the verification file"});
      }
      for (const std::string& a : file_.attributes(dataset)) {
        if (a == "trainable" || a == "decay") out.set_attribute(dataset, a, file_.integer(dataset, a));
      }
    }
  }
  for (const auto& [name, array] : results) {
    const DatasetOptions options{"1", "computed"};
    if (name.find('/') == std::string::npos) {  // the capacity
      out.set_attribute("/", name, static_cast<i64>(array.values[0]));
    } else if (array.whole_numbers) {
      out.write<i64>("/" + name, std::vector<i64>(array.values.begin(), array.values.end()), array.shape, options);
    } else {
      out.write<double>("/" + name, array.values, array.shape, options);
    }
  }
  out.close();
}

}  // namespace pleiad::io
