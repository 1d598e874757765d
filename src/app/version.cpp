// The list of commands, and what --version says.
#include "pleiad/app/commands.hpp"
#include "pleiad/comm/communicator.hpp"
#include "pleiad/core/build_info.hpp"
#include "pleiad/io/h5.hpp"
#include "pleiad/io/tokenizer.hpp"
#include "pleiad/ops/gemm.hpp"

namespace pleiad::app {

const std::vector<Command>& commands() {
  static const std::vector<Command> all = {
#ifndef PLEIAD_DOUBLE  // in double precision there is nothing else than a check of the numbers
      {"train", "train a model, or continue a run with --resume", true, run_train},
      {"eval", "evaluate a checkpoint on a corpus, once or over a sweep of options", true, run_eval},
      {"split", "cut the dense layers of a checkpoint into small experts", true, run_split},
      {"sample", "generate text from a checkpoint", true, run_sample},
      {"score", "BLEU and chrF of translations", false, run_score},
      {"data", "make and describe data: build, synth, labelled, pairs, info", false, run_data},
      {"inspect", "describe any of our HDF5 files in words", false, run_inspect},
      {"sweep", "many configurations: plan, run, status, rerun, collect", false, run_sweep},
      {"watch", "follow a run from any machine, without disturbing it", false, run_watch},
      {"report", "tables, plots and comparisons of runs and sweeps", false, run_report},
      {"bench", "rates over roofs measured in the same run: gemm, layer, exchange, overlap, step", true, run_bench},
      {"simulate", "predict a training step on a described cluster; calibrate: describe this one", true, run_simulate},
#endif
      {"verify", "compare with verification files of layers and models", true, run_verify},
  };
  return all;
}

std::string version_text() {
  const core::BuildInfo b = core::build_info();
  return fmt::format(
      "pleiad {} ({})\nbuild:    {}, {}, numbers {}\ncompiler: {} [{}]\nMPI:      {}\nproducts: {}\nHDF5:     {}\noptional: SentencePiece {}, SimGrid {}\n",
      b.version, b.git_commit, b.build_type, b.native ? "for this host's instruction set" : "portable", k_real_name, b.compiler, b.flags,
      comm::mpi_description(), ops::products_description(), io::h5_description(), io::Tokenizer::have_sentencepiece() ? "yes" : "no", b.simgrid.empty() ? "no" : b.simgrid);
}

}  // namespace pleiad::app
