// Configuration files, settings, sweep files and the configuration inside a record.
#include <algorithm>
#include <cctype>

#include "fuzz.hpp"

#include "pleiad/app/config.hpp"
#include "pleiad/report/run.hpp"
#include "pleiad/sweep/definition.hpp"

namespace {

using namespace pleiad;

/// Every value by every getter: which one a key belongs to is for the rooms to say.
void read_all(app::Config& config) {
  for (const char* name : {"model", "moe", "train", "data", "parallel", "exchange", "checkpoint", "metrics"}) {
    Spec& section = config.section(name);
    const std::map<std::string, std::string> given = section.given();
    for (const auto& [key, value] : given) {
      const std::string& k = key;
      fuzz::attempt([&] { section.integer(k, 0, -5, i64{1} << 40, "a whole number"); });
      fuzz::attempt([&] { section.number(k, 0, -1e300, 1e300, "a number"); });
      fuzz::attempt([&] { section.flag(k, false, "a flag"); });
      fuzz::attempt([&] { section.integers(k, {}, 0, i64{1} << 40, "a list"); });
      fuzz::attempt([&] { section.numbers(k, {}, 0, 1e300, "a list"); });
      fuzz::attempt([&] { section.choice(k, "a", {"a", "b"}, "a choice"); });
    }
    fuzz::attempt([&] { section.finish(); });
  }
  // What is written into every output must come back as it is; its keys are those of the getters.
  for (const auto& given : config.given()) {
    if (!std::ranges::all_of(given.first, [](unsigned char c) { return std::isalnum(c) || c == '_' || c == '.'; })) return;
  }
  const std::string resolved = config.resolved();
  if (!fuzz::attempt([&] { app::Config::parse(resolved, "resolved.ini"); })) fuzz::finding("the resolved configuration cannot be read:\n" + resolved);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  fuzz::attempt([&] {
    app::Config config = app::Config::parse(text, "config.ini");
    read_all(config);
  });
  fuzz::attempt([&] {
    app::Config config;
    config.set(text);
    read_all(config);
  });
  fuzz::attempt([&] {
    std::vector<sweep::Entry> entries;
    for (const app::IniEntry& e : app::parse_ini(text, "sweep.ini")) entries.push_back({e.section, e.key, e.value});
    const sweep::Definition definition = sweep::Definition::read(entries, "sweep.ini");
    const i64 count = definition.combinations();
    if (count > 100'000) fuzz::finding("more points than a sweep may have");
    for (const i64 number : {i64{0}, count / 2, count - 1}) definition.combination(number);
  });
  report::parse_config(text);
  return 0;
}
