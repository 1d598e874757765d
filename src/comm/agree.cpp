#include "pleiad/comm/agree.hpp"

#include <filesystem>

#include "pleiad/comm/collectives.hpp"
#include "pleiad/core/error.hpp"

namespace pleiad::comm {

namespace {

/// What went wrong, in words; empty if nothing.
std::string problem_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const UserError& e) {
    return e.what();
  } catch (const std::filesystem::filesystem_error& e) {
    return fmt::format("{}: {}", e.path1().string(), e.code().message());
  }
  return "";
}

}  // namespace

void agree(const Communicator& comm, const std::string& problem) {
  const std::uint8_t bad = problem.empty() ? 0 : 1;
  const std::vector<std::uint8_t> all = all_gather<std::uint8_t>(comm, std::span<const std::uint8_t>(&bad, 1));
  std::vector<i64> bad_ranks;
  for (i64 r = 0; r < comm.size(); ++r) {
    if (all[r]) bad_ranks.push_back(r);
  }
  if (bad_ranks.empty()) return;
  std::string message = broadcast(comm, problem, bad_ranks.front());
  if (static_cast<i64>(bad_ranks.size()) < comm.size()) {
    const bool many = bad_ranks.size() > 8;
    if (many) bad_ranks.resize(8);
    message += fmt::format(" (on rank {}{} of {}; the other ranks do not have this problem)", fmt::join(bad_ranks, ", "),
                           many ? ", ..." : "", comm.size());
  }
  throw UserError(message);
}

void agree_on(const Communicator& comm, const std::function<void()>& action) { agree(comm, problem_of(action)); }

void agree_on_root(const Communicator& comm, const std::function<void()>& action) { agree_with_root(comm, comm.root() ? problem_of(action) : ""); }

void agree_with_root(const Communicator& comm, const std::string& problem) {
  const std::string of_root = broadcast(comm, problem);
  if (!of_root.empty()) throw UserError(of_root);
}

void require_same(const Communicator& comm, const std::string& text, const std::string& what) {
  const std::string first = broadcast(comm, text, 0);
  agree(comm, first == text ? std::string() : fmt::format("{} differs between ranks: '{}' on rank 0, '{}' on rank {}", what, first, text, comm.rank()));
}

}  // namespace pleiad::comm
