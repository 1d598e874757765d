// Start and end of MPI, and move-only ownership of a communicator. Destructors never throw and never communicate.
#pragma once
#include <mpi.h>

#include <string>

#include "pleiad/core/real.hpp"

namespace pleiad::comm {

/// Starts MPI and ends it, unless an exception is unwinding (MPI_Finalize would wait for ranks that never come).
class Environment {
 public:
  /// UserError, before MPI is started, where Open MPI could not make the memory that ranks of a node share and would wait for it for ever.
  Environment(int& argc, char**& argv);
  ~Environment();
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;

 private:
  int exceptions_at_start_;
};

/// For a mistake that is found before MPI is started, usually by every rank: rank 0 returns at once, others only after seconds. When rank 0 has spoken and
/// left, the launcher ends them; a rank of another node that alone has the mistake comes to speak.
void wait_for_rank_0_to_speak();

/// Ends every rank at once with an exit code; for errors that only one rank knows of.
[[noreturn]] void abort_all(int exit_code);

/// Name and version of the MPI library, one line.
std::string mpi_description();

/// UserError if this process was started by SLURM as one of several tasks but MPI sees a world of one: the launcher and the
/// MPI library do not talk to each other and every task would silently run the whole job.
void refuse_lonely_slurm_task(i64 world_size);

class Communicator {
 public:
  /// Owns a duplicate of MPI_COMM_WORLD. collective.
  static Communicator world();
  /// This rank by itself. Local.
  static Communicator alone();
  /// One communicator per colour, ranks ordered by key. collective.
  Communicator split(i64 colour, i64 key) const;
  /// The ranks that share memory with this one. collective.
  Communicator node() const;

  Communicator(Communicator&& other) noexcept;
  Communicator& operator=(Communicator&& other) noexcept;
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;
  ~Communicator();

  i64 rank() const { return rank_; }
  i64 size() const { return size_; }
  bool root() const { return rank_ == 0; }
  MPI_Comm native() const { return handle_; }

 private:
  explicit Communicator(MPI_Comm owned);

  MPI_Comm handle_ = MPI_COMM_NULL;
  i64 rank_ = 0, size_ = 1;
};

}  // namespace pleiad::comm
