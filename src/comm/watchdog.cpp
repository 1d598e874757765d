#include "pleiad/comm/watchdog.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstring>
#include <iostream>
#include <random>
#include <thread>

#include "pleiad/comm/collectives.hpp"
#include "pleiad/core/clock.hpp"
#include "pleiad/core/error.hpp"
#include "pleiad/core/host.hpp"
#include "pleiad/core/whereabouts.hpp"

namespace pleiad::comm {

namespace {

constexpr double k_patience = 10;  // seconds in which all ranks must have found rank 0
constexpr double k_mourning = 3;   // seconds that a launcher has to end, in its own way, a job of which a process has died

/// What a rank says of itself, as bytes between processes of one program.
struct News {
  std::uint64_t job = 0;
  std::int32_t rank = 0, done = 0, phase = -1, block = -1;
  i64 step = 0, moves = 0;
  double idle = 0;
  char wait[32] = "";
};

/// One end of a connection. News are sent whole or not at all; of those that came the last one counts.
class Link {
 public:
  Link() = default;
  explicit Link(int socket) : socket_(socket) {
    const int on = 1;
    setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    fcntl(socket, F_SETFL, fcntl(socket, F_GETFL) | O_NONBLOCK);
  }
  Link(Link&& other) noexcept { *this = std::move(other); }
  Link& operator=(Link&& other) noexcept {
    std::swap(socket_, other.socket_);
    std::swap(in_, other.in_);
    std::swap(out_, other.out_);
    return *this;
  }
  ~Link() {
    if (socket_ >= 0) ::close(socket_);
  }

  void send(const News& news) {
    if (out_.empty()) out_.assign(reinterpret_cast<const char*>(&news), sizeof(news));  // else the other side does not read: it will get this later
    const ssize_t count = ::send(socket_, out_.data(), out_.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (count > 0) out_.erase(0, static_cast<std::size_t>(count));
  }

  enum class Came { nothing, news, end };
  Came receive(News& news) {
    Came came = Came::nothing;
    char buffer[4096];
    for (;;) {
      const ssize_t count = ::recv(socket_, buffer, sizeof(buffer), MSG_DONTWAIT);
      if (count < 0 && errno == EINTR) continue;
      if (count <= 0) return count == 0 || (errno != EAGAIN && errno != EWOULDBLOCK) ? (came == Came::news ? came : Came::end) : came;
      in_.append(buffer, static_cast<std::size_t>(count));
      for (; in_.size() >= sizeof(News); in_.erase(0, sizeof(News)), came = Came::news) std::memcpy(&news, in_.data(), sizeof(News));
    }
  }
  int socket() const { return socket_; }

 private:
  int socket_ = -1;
  std::string in_, out_;
};

/// Addresses of this host, numbers and dots.
std::vector<std::string> own_addresses() {
  std::vector<std::string> all;
  ifaddrs* list = nullptr;
  if (getifaddrs(&list) != 0) return all;
  for (const ifaddrs* i = list; i; i = i->ifa_next) {
    if (!i->ifa_addr || i->ifa_addr->sa_family != AF_INET) continue;
    char text[INET_ADDRSTRLEN] = "";
    const in_addr address = reinterpret_cast<const sockaddr_in*>(i->ifa_addr)->sin_addr;
    inet_ntop(AF_INET, &address, text, sizeof(text));
    if (std::string_view(text).substr(0, 4) != "127.") all.push_back(text);
  }
  freeifaddrs(list);
  return all;
}

/// A socket that listens, and its port; -1.
int listen_somewhere(int& port) {
  const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_ANY);
  socklen_t size = sizeof(address);
  if (socket < 0 || bind(socket, reinterpret_cast<sockaddr*>(&address), size) != 0 || listen(socket, SOMAXCONN) != 0 ||
      getsockname(socket, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    if (socket >= 0) ::close(socket);
    return -1;
  }
  port = ntohs(address.sin_port);
  return socket;
}

int connect_to(const std::string& host, int port, double seconds) {
  const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  inet_pton(AF_INET, host.c_str(), &address.sin_addr);
  if (socket < 0) return -1;
  pollfd waiting = {socket, POLLOUT, 0};
  int error = 0;
  socklen_t size = sizeof(error);
  if ((connect(socket, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0 || errno == EINPROGRESS) &&
      poll(&waiting, 1, static_cast<int>(1e3 * seconds)) == 1 && getsockopt(socket, SOL_SOCKET, SO_ERROR, &error, &size) == 0 && error == 0) {
    return socket;
  }
  ::close(socket);
  return -1;
}

News own_news(std::uint64_t job, i64 rank) {
  const Whereabouts& here = whereabouts();
  News news;
  news.job = job;
  news.rank = static_cast<std::int32_t>(rank);
  news.phase = here.phase.load(std::memory_order_relaxed);
  news.block = static_cast<std::int32_t>(here.block.load(std::memory_order_relaxed));
  news.step = here.step.load(std::memory_order_relaxed);
  news.moves = here.moves.load(std::memory_order_relaxed);
  if (const char* wait = here.wait.load(std::memory_order_relaxed)) std::strncpy(news.wait, wait, sizeof(news.wait) - 1);
  return news;
}

}  // namespace

/// Rank 0 has a link to each other rank, these have one to rank 0.
class Watchdog::Thread {
 public:
  Thread(std::uint64_t job, i64 rank, std::vector<std::string> host, double seconds, int exit_code, std::string then, std::vector<Link> links)
      : job_(job), rank_(rank), host_(std::move(host)), seconds_(seconds), exit_code_(exit_code), then_(std::move(then)), links_(std::move(links)), state_(host_.size()), heard_(host_.size(), Stopwatch::now()) {
    // Signals to the process are for the thread that works.
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    thread_ = std::thread([this] { watch(); });
    pthread_setname_np(thread_.native_handle(), "pleiad-watchdog");
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
  }
  ~Thread() {
    ending_ = true;
    eventfd_write(end_, 1);
    thread_.join();
    ::close(end_);
  }

 private:
  void watch() {
    const double tick = std::clamp(seconds_ / 10, 0.05, 1.0);
    double last = Stopwatch::now(), moved = last;
    News before;
    for (bool ending = false;; ending = nap(tick)) {
      const double now = Stopwatch::now();
      News own = own_news(job_, rank_);
      if (own.step != before.step || own.moves != before.moves) moved = now;
      // This process itself was stopped for a while, perhaps the whole job: what was not heard meanwhile says nothing.
      if (now - last > 4 * tick + 1) {
        moved = now;
        std::ranges::fill(heard_, now);
      }
      last = now;
      before = own;
      own.idle = now - moved;
      own.done = ending;
      for (Link& link : links_) link.send(own);
      if (ending) return;
      take(rank_, own, now);
      listen(now);
      look(now);
    }
  }

  void take(i64 rank, const News& news, double now) {
    RankState& s = state_[static_cast<std::size_t>(rank)];
    s = {0, news.idle, false, news.done != 0, news.step, news.block, news.moves, news.phase, std::string(news.wait, strnlen(news.wait, sizeof(news.wait)))};
    heard_[static_cast<std::size_t>(rank)] = now;
  }

  void listen(double now) {
    for (std::size_t i = 0; i < links_.size(); ++i) {
      const i64 rank = rank_ == 0 ? static_cast<i64>(i) + 1 : 0;
      News news;
      const Link::Came came = links_[i].receive(news);
      if (came == Link::Came::news && news.job == job_) take(rank, news, now);
      if (came == Link::Came::end && !state_[static_cast<std::size_t>(rank)].done) state_[static_cast<std::size_t>(rank)].gone = true;
    }
  }

  /// Rank 0 judges all; another rank only looks after rank 0, and the higher its number the longer it waits, so that one of them speaks.
  void look(double now) {
    if (!mourning_ && std::ranges::any_of(state_, &RankState::gone)) {
      // Whoever needs the dead one will wait in a moment, and who waits for what belongs into the message; the launcher may end us in little more than that.
      mourning_ = true;
      News own = own_news(job_, rank_);
      for (int i = 0; i < 10 && own.wait[0] == 0; ++i) {
        std::this_thread::sleep_for(std::chrono::milliseconds(2));
        own = own_news(job_, rank_);
      }
      take(rank_, own, now);
    }
    for (std::size_t r = 0; r < state_.size(); ++r) state_[r].silent = now - heard_[r];
    if (rank_ == 0) {
      if (const std::string problem = judge(state_, host_, seconds_); !problem.empty()) end_job(problem);
      return;
    }
    std::vector<RankState> root = {state_[0], state_[static_cast<std::size_t>(rank_)]};
    root[1].rank = rank_;
    root[0].idle = 0;  // it judges that itself
    const double later = 0.7 * static_cast<double>(std::min<i64>(rank_, 5));
    root[0].silent = std::max(0.0, root[0].silent - later);
    if (rank_ > 1 && root[0].silent < k_mourning) root[0].gone = false;
    if (const std::string problem = judge(root, {host_[0], host_[static_cast<std::size_t>(rank_)]}, seconds_); !problem.empty()) end_job(problem);
  }

  [[noreturn]] void end_job(const std::string& problem) {
    // Nobody else need speak of this, nor of the end of this process.
    News farewell = own_news(job_, rank_);
    farewell.done = 1;
    for (Link& link : links_) link.send(farewell);
    const bool died = std::ranges::any_of(state_, &RankState::gone);
    const std::string limit = died ? "" : fmt::format("; parallel.stall_seconds = {}", seconds_);
    std::cerr << fmt::format("pleiad: {}{}. The job ends here{}{}", problem, limit, then_.empty() ? "" : "; ", then_) << std::endl;
    if (died) std::this_thread::sleep_for(std::chrono::duration<double>(k_mourning));
    // Should MPI not even be able to abort, the alarm ends this process, and the launcher the others.
    std::signal(SIGALRM, SIG_DFL);
    sigset_t alarm_only;
    sigemptyset(&alarm_only);
    sigaddset(&alarm_only, SIGALRM);
    pthread_sigmask(SIG_UNBLOCK, &alarm_only, nullptr);
    alarm(3);
    abort_all(exit_code_);
  }

  /// Until the time is over, the run ends, or the process of a rank does: a launcher that sees one die kills the others, often without a word, within a second. True if the run ends.
  bool nap(double seconds) {
    std::vector<pollfd> watched = {{end_, POLLIN, 0}};
    for (std::size_t i = 0; i < links_.size(); ++i) {
      const RankState& s = state_[rank_ == 0 ? i + 1 : 0];
      if (!s.done && !s.gone) watched.push_back({links_[i].socket(), POLLRDHUP, 0});
    }
    poll(watched.data(), watched.size(), static_cast<int>(1e3 * seconds));
    return ending_;
  }

  const std::uint64_t job_;
  const i64 rank_;
  const std::vector<std::string> host_;
  const double seconds_;
  const int exit_code_;
  const std::string then_;
  std::vector<Link> links_;
  std::vector<RankState> state_;
  std::vector<double> heard_;
  bool mourning_ = false;  // a rank has died
  const int end_ = eventfd(0, EFD_CLOEXEC);
  std::atomic<bool> ending_ = false;
  std::thread thread_;
};

namespace {

/// Rank 0: a link to every other rank, in their order; fewer if some did not come in time.
std::vector<Link> accept_all(int listening, std::uint64_t job, i64 ranks) {
  std::vector<Link> links(static_cast<std::size_t>(ranks - 1)), strangers;
  i64 missing = ranks - 1;
  const Stopwatch watch;
  while (missing > 0 && watch.seconds() < k_patience) {
    pollfd waiting = {listening, POLLIN, 0};
    if (poll(&waiting, 1, 10) == 1) {
      if (const int socket = ::accept4(listening, nullptr, nullptr, SOCK_CLOEXEC); socket >= 0) strangers.emplace_back(socket);
    }
    for (std::size_t i = 0; i < strangers.size();) {
      News news;
      const Link::Came came = strangers[i].receive(news);
      const bool ours = came == Link::Came::news && news.job == job && news.rank > 0 && news.rank < ranks && links[static_cast<std::size_t>(news.rank - 1)].socket() < 0;
      if (ours) {
        links[static_cast<std::size_t>(news.rank - 1)] = std::move(strangers[i]);
        --missing;
      }
      if (came == Link::Came::nothing) ++i;
      else strangers.erase(strangers.begin() + static_cast<std::ptrdiff_t>(i));
    }
  }
  if (missing > 0) links.clear();
  return links;
}

std::vector<Link> find_root(const std::vector<std::string>& addresses, int port, std::uint64_t job, i64 rank) {
  std::vector<Link> links;
  for (const std::string& address : addresses) {
    const int socket = connect_to(address, port, 2);
    if (socket < 0) continue;
    links.emplace_back(socket);
    links.back().send(own_news(job, rank));
    break;
  }
  return links;
}

std::vector<std::string> hosts_of(const Communicator& world) {
  const std::string name = host_name();
  std::vector<i64> length;
  const std::vector<char> all = all_gather_v<char>(world, std::span<const char>(name), &length);
  std::vector<std::string> hosts;
  auto at = all.begin();
  for (const i64 n : length) hosts.emplace_back(at, at + n), at += n;
  return hosts;
}

}  // namespace

Watchdog::Watchdog(const Communicator& world, double seconds, int exit_code, const std::string& then) {
  if (seconds <= 0) return;
  std::vector<std::string> hosts = hosts_of(world);
  std::vector<Link> links;
  i64 job_and_port[2] = {0, 0};
  std::uint64_t job = 0;
  if (world.size() > 1) {
    int listening = -1, port = 0;
    if (world.root()) {
      job_and_port[0] = static_cast<i64>(std::random_device{}()) << 31 | std::random_device{}() >> 1;
      listening = listen_somewhere(port);
      job_and_port[1] = listening < 0 ? 0 : port;
    }
    broadcast<i64>(world, job_and_port);
    job = static_cast<std::uint64_t>(job_and_port[0]);
    const Communicator node = world.node();
    const bool with_root = min_over<i64>(node, world.rank()) == 0;
    std::vector<std::string> addresses;
    const std::string list = broadcast(world, fmt::format("{} ", fmt::join(own_addresses(), " ")));
    if (with_root) addresses.push_back("127.0.0.1");
    for (std::size_t at = 0, end = 0; (end = list.find(' ', at)) != std::string::npos; at = end + 1) {
      if (end > at) addresses.push_back(list.substr(at, end - at));
    }
    if (job_and_port[1] > 0) links = world.root() ? accept_all(listening, job, world.size()) : find_root(addresses, static_cast<int>(job_and_port[1]), job, world.rank());
    if (listening >= 0) ::close(listening);
    i64 lost = links.empty() ? world.rank() : -1;
    lost = max_over<i64>(world, lost);
    if (lost >= 0) {
      problem_ = fmt::format("nobody watches for ranks that stop: {}", lost == 0 ? "not every rank could reach rank 0 by TCP" : fmt::format("rank {} (host {}) cannot reach rank 0 (host {}) by TCP", lost, hosts[static_cast<std::size_t>(lost)], hosts[0]));
      return;
    }
  }
  thread_ = std::make_unique<Thread>(job, world.rank(), std::move(hosts), seconds, exit_code, then, std::move(links));
}

Watchdog::~Watchdog() = default;

}  // namespace pleiad::comm
