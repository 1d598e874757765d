#include "pleiad/sweep/slurm_script.hpp"

#include <algorithm>
#include <cctype>
#include <map>
#include <regex>

#include "pleiad/core/error.hpp"
#include "pleiad/core/text.hpp"

namespace pleiad::sweep {

namespace {

/// One word in which $NAME and ${NAME} still mean something.
std::string quoted_with_variables(const std::string& text) {
  std::string out = "\"";
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i], next = i + 1 < text.size() ? text[i + 1] : ' ';
    const bool variable = c == '$' && (std::isalpha(static_cast<unsigned char>(next)) || next == '_' || next == '{');
    if (c == '"' || c == '\\' || c == '`' || (c == '$' && !variable)) out += '\\';
    out += c;
  }
  return out + "\"";
}

/// A value on a line #SBATCH: double quotes, in which sbatch knows the backslash.
std::string directive_value(const std::string& text) {
  const bool plain = std::all_of(text.begin(), text.end(), [](unsigned char c) { return std::isalnum(c) || std::string_view("_-+=:;,./@%[]()|&*").find(static_cast<char>(c)) != std::string_view::npos; });
  if (plain) return text;
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + "\"";
}

/// A path in a file name of sbatch, where % begins a pattern.
std::string without_patterns(const std::string& path) {
  std::string out;
  for (const char c : path) out += c == '%' ? std::string("%%") : std::string(1, c);
  return out;
}

class Head {
 public:
  explicit Head(const std::string& comment) : text_("#!/bin/bash\n# " + comment + "\n") {}
  void directive(const std::string& name, const std::string& value) {
    if (!value.empty()) text_ += fmt::format("#SBATCH --{}={}\n", name, directive_value(value));
  }
  void directive(const std::string& name, i64 value) {
    if (value > 0) text_ += fmt::format("#SBATCH --{}={}\n", name, value);
  }
  void line(const std::string& text) { text_ += text + "\n"; }
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

/// The name of a job is printed by squeue: no blanks, nothing special.
std::string job_name(const Submission& s, const std::string& what) {
  std::string name = what + "-" + s.name;
  for (char& c : name) {
    if (!std::isalnum(static_cast<unsigned char>(c)) && c != '-' && c != '.') c = '_';
  }
  return name;
}

void require_one_of(const char* option, const std::string& value, const std::vector<std::string>& allowed) {
  if (std::find(allowed.begin(), allowed.end(), value) == allowed.end()) user_error("--{} {}: must be one of {}", option, value, fmt::join(allowed, ", "));
}

void require_count(const char* option, i64 value, i64 least) {
  if (value < least || value > 1000000) user_error("--{} {}: must be between {} and 1000000", option, value, least);
}

/// What stands on a line of a script must not begin another one.
void require_one_line(const char* option, const std::string& value) {
  for (const char c : value) {
    if (std::iscntrl(static_cast<unsigned char>(c)) && c != '\t') user_error("--{} {}: has a line break or another control character; allowed is one line of text", option, value);
  }
}

void directives_of_queue(Head& head, const SlurmOptions& o) {
  head.directive("partition", o.partition);
  head.directive("account", o.account);
  head.directive("qos", o.qos);
  head.directive("constraint", o.constraint);
  head.directive("reservation", o.reservation);
}

}  // namespace

void check_slurm_options(const SlurmOptions& o) {
  require_one_of("launcher", o.launcher, {"srun", "mpirun"});
  require_one_of("binding", o.binding, {"none", "cores", "numa"});
  if (!std::regex_match(o.mpi, std::regex("[A-Za-z0-9_]+"))) user_error("--mpi '{}': must be a name that 'srun --mpi=list' prints, such as pmix", o.mpi);
  if (o.launcher == "mpirun" && o.mpi != SlurmOptions().mpi) user_error("--mpi {}: is for --launcher srun; mpirun starts its ranks itself", o.mpi);
  require_count("nodes", o.nodes, 0);
  require_count("ranks-per-node", o.ranks_per_node, 0);
  require_count("ranks-per-numa", o.ranks_per_numa, 0);
  require_count("numa-per-node", o.numa_per_node, 0);
  require_count("cpus-per-rank", o.cpus_per_rank, 1);
  require_count("throttle", o.throttle, 0);
  require_count("signal", o.signal, 0);
  if (o.numa_per_node > 0 && o.ranks_per_numa == 0) user_error("--numa-per-node {}: only goes with --ranks-per-numa", o.numa_per_node);
  if (o.ranks_per_numa > 0 && o.numa_per_node == 0 && o.ranks_per_node == 0) {
    user_error("--ranks-per-numa {}: also needs --numa-per-node, the number of NUMA domains of a node ('lscpu' shows it), or --ranks-per-node", o.ranks_per_numa);
  }
  if (o.ranks_per_numa > 0 && o.ranks_per_node > 0) {
    if (o.numa_per_node > 0 && o.ranks_per_node != o.ranks_per_numa * o.numa_per_node) {
      user_error("--ranks-per-node {}: differs from --ranks-per-numa {} times --numa-per-node {}; leave it out", o.ranks_per_node, o.ranks_per_numa, o.numa_per_node);
    }
    if (o.ranks_per_node % o.ranks_per_numa != 0) user_error("--ranks-per-node {}: must be a multiple of --ranks-per-numa {}", o.ranks_per_node, o.ranks_per_numa);
  }
  const i64 limit = o.time.empty() ? 0 : seconds_of_time_limit(o.time);
  if (limit < 0) user_error("--time {}: must be minutes, hours:minutes:seconds, days-hours, or another of sbatch's notations", o.time);
  if (limit > 0 && o.signal >= limit) user_error("--signal {}: must be less than the {} seconds of --time {}", o.signal, limit, o.time);
  if (o.signal > 65535) user_error("--signal {}: must be at most 65535 seconds", o.signal);
  const std::pair<const char*, const std::string&> words[] = {{"partition", o.partition}, {"account", o.account}, {"qos", o.qos}, {"constraint", o.constraint},
                                                              {"reservation", o.reservation}, {"mem", o.mem}, {"scratch", o.scratch}};
  for (const auto& [option, value] : words) {
    require_one_line(option, value);
  }
  for (const std::string& line : o.setup) require_one_line("setup", line);
  for (const std::string& option : o.sbatch) {
    require_one_line("sbatch", option);
    if (!std::regex_search(option, std::regex("^--[a-z][a-z-]+(=|$)"))) user_error("--sbatch {}: must be a long option of sbatch, --name or --name=value, such as --gres=gpu:1", option);
    for (const char* ours : {"array", "ntasks", "output", "open-mode", "wrap", "dependency"}) {
      if (option == fmt::format("--{}", ours) || option.starts_with(fmt::format("--{}=", ours))) user_error("--sbatch {}: is set by 'pleiad sweep submit' itself", option);
    }
  }
}

namespace {

std::string in_ranks(i64 n) { return fmt::format("{} rank{}", n, n == 1 ? "" : "s"); }

}  // namespace

Placement place_ranks(const SlurmOptions& o, i64 ranks) {
  Placement p{ranks, o.nodes, o.ranks_per_node};
  if (o.ranks_per_numa > 0 && o.numa_per_node > 0) p.ranks_per_node = o.ranks_per_numa * o.numa_per_node;
  if (p.ranks_per_node > 0) {
    const char* option = o.ranks_per_node > 0 ? "--ranks-per-node" : "--ranks-per-numa times --numa-per-node =";
    if (o.nodes > 0 && ranks != o.nodes * p.ranks_per_node) {
      user_error("{} {} on --nodes {}: makes {}, and the sweep has points with {}; leave one of the two out", option, p.ranks_per_node, o.nodes, in_ranks(o.nodes * p.ranks_per_node), ranks);
    }
    // Few ranks are fewer on one node; otherwise nodes are full.
    if (ranks < p.ranks_per_node && o.ranks_per_numa == 0) p.ranks_per_node = ranks;
    if (ranks % p.ranks_per_node != 0) {
      user_error("{} {}: the sweep has points with {}, which do not fill such nodes; allowed is a divisor of it", option, p.ranks_per_node, in_ranks(ranks));
    }
    p.nodes = ranks / p.ranks_per_node;
  } else if (o.nodes > 0) {
    if (ranks % o.nodes != 0) user_error("--nodes {}: the sweep has points with {}, which cannot be shared evenly; allowed is a divisor of it", o.nodes, in_ranks(ranks));
    p.ranks_per_node = ranks / o.nodes;
  }
  return p;
}

std::vector<ArrayJob> arrays_of(const std::vector<std::string>& names, const std::vector<i64>& ranks, i64 max_array_size) {
  PLEIAD_CHECK(names.size() == ranks.size() && max_array_size > 0, "{} names, {} ranks, {} elements", names.size(), ranks.size(), max_array_size);
  std::map<i64, std::vector<std::string>> by_ranks;
  for (std::size_t i = 0; i < names.size(); ++i) by_ranks[ranks[i]].push_back(names[i]);
  std::vector<ArrayJob> jobs;
  for (const auto& [count, points] : by_ranks) {
    const i64 size = static_cast<i64>(points.size());
    for (i64 first = 0; first < size; first += max_array_size) {
      ArrayJob job{std::to_string(count), count, {}};
      if (size > max_array_size) job.name += fmt::format("-{}", first / max_array_size + 1);
      job.points.assign(points.begin() + first, points.begin() + std::min(size, first + max_array_size));
      jobs.push_back(std::move(job));
    }
  }
  return jobs;
}

std::string points_text(const ArrayJob& job) {
  std::string text;
  for (const std::string& name : job.points) text += name + "\n";
  return text;
}

std::string array_script(const SlurmOptions& o, const Submission& s, const ArrayJob& job) {
  const Placement p = place_ranks(o, job.ranks);
  Head head(fmt::format("Made by 'pleiad sweep submit': {} point{} on {} rank{}, one per element.", job.points.size(), job.points.size() == 1 ? "" : "s", job.ranks,
                        job.ranks == 1 ? "" : "s each"));
  head.directive("job-name", job_name(s, "sweep"));
  head.directive("array", fmt::format("0-{}{}", job.points.size() - 1, o.throttle > 0 ? fmt::format("%{}", o.throttle) : ""));
  head.directive("nodes", p.nodes);
  head.directive("ntasks", p.ranks);
  head.directive("ntasks-per-node", p.ranks_per_node);
  head.directive("cpus-per-task", o.cpus_per_rank);
  head.directive("time", o.time);
  if (o.signal > 0) head.directive("signal", fmt::format("B:USR1@{}", o.signal));
  head.line(o.requeue ? "#SBATCH --requeue" : "#SBATCH --no-requeue");
  head.line("#SBATCH --open-mode=append");
  head.directive("output", without_patterns(s.folder + "/array-" + job.name) + "-%a.out");
  directives_of_queue(head, o);
  head.directive("mem", o.mem);
  if (o.exclusive) head.line("#SBATCH --exclusive");
  for (const std::string& option : o.sbatch) {
    const std::size_t equals = std::min(option.size(), option.find('='));
    head.line("#SBATCH " + option.substr(0, equals) + (equals < option.size() ? "=" + directive_value(option.substr(equals + 1)) : ""));
  }
  for (const std::string& line : o.setup) head.line(line);
  if (!o.scratch.empty()) head.line("set -u  # a scratch folder whose variable this node does not have is an error");
  head.line("launcher=" + o.launcher);
  head.line("mpi=" + o.mpi);
  head.line("ranks_per_numa=" + (o.ranks_per_numa > 0 ? std::to_string(o.ranks_per_numa) : ""));
  head.line(fmt::format("cpus_per_rank={}", o.cpus_per_rank));
  head.line("binding=" + o.binding);
  head.line(o.requeue ? "requeue=yes" : "requeue=no");
  head.line("scratch=" + (o.scratch.empty() ? "" : quoted_with_variables(o.scratch)));
  head.line("sweep=" + shell_word(s.sweep));
  head.line(fmt::format("point=$(sed -n \"$((SLURM_ARRAY_TASK_ID + 1))p\" {})", shell_word(s.folder + "/" + job.points_file())));
  head.line("run=$sweep/points/$point");
  head.line(fmt::format("command=({} train --continue --config \"$run/point.ini\" --out \"$run\")", shell_word(s.program)));
  return head.text() + "\n" + k_job_script;
}

std::string collect_script(const SlurmOptions& o, const Submission& s) {
  Head head("Made by 'pleiad sweep submit': collects the results when all points have ended, well or not.");
  head.directive("job-name", job_name(s, "collect"));
  head.directive("ntasks", 1);
  head.directive("time", "30");
  head.line("#SBATCH --requeue");
  head.line("#SBATCH --open-mode=append");
  head.directive("output", without_patterns(s.folder) + "/collect.out");
  directives_of_queue(head, o);
  for (const std::string& line : o.setup) head.line(line);
  head.line("unset ${PLEIAD_ONE_MACHINE:-}  # of experiments/env.sh");
  head.line("export OMPI_MCA_ess_singleton_isolated=1  # one process needs no launcher");
  head.line(fmt::format("exec {} sweep collect {}", shell_word(s.program), shell_word(s.sweep)));
  return head.text();
}

}  // namespace pleiad::sweep
