// HyperMoE (Zhao et al. 2024, arXiv 2402.12656): the experts a token did *not* choose are turned, by a hypernetwork shared by all layers,
// into one more small expert, added without a gate. It depends on the token only through the chosen set, so each distinct set is
// generated once per layer and step, never per token.
//   s = sum of embeddings of the experts not chosen      q = W2 relu(W1 s + b1) + b2      v = relu(T [q; B_layer] + t)
//   D = W_D v + c_D [D,b], beta = W_beta v + c_beta, U = W_U v + c_U [b,D], gamma = W_gamma v + c_gamma
//   y += relu(x D + beta) U + gamma
// Letters: T tokens of this rank, D width, b bottleneck, N experts, G distinct sets of the whole batch.
#pragma once
#include "pleiad/model/context.hpp"
#include "pleiad/core/param.hpp"
#include "pleiad/core/spec.hpp"
#include "pleiad/routing/assignment.hpp"

namespace pleiad::model {

struct HyperConfig {
  enum class Input { unselected, selected, constant } input = Input::unselected;
  bool on = false;
  i64 layers = 1;  ///< rows of the layer embedding: MoE layers of the model
  i64 embedding = 32, hidden = 32, query = 32, layer_embedding = 4, trunk = 32, bottleneck = 8;

  /// Reads moe.hyper and moe.hyper_*. `layers` is not read.
  static HyperConfig read(Spec& moe);
};

/// The generator, shared by all MoE layers of a model.
class HyperNetwork {
 public:
  /// Adds its parameters under `prefix`. width is D.
  HyperNetwork(ParamSet& params, const std::string& prefix, const HyperConfig& config, i64 width);

  struct Trace {
    Matrix joined, trunk, weights;  // [G, query + layer_embedding], [G, trunk], [G, row_size()]: D, beta, U, gamma side by side
  };
  i64 row_size() const { return 2 * width_ * config_.bottleneck + config_.bottleneck + width_; }
  /// query [G,q] -> trace.weights; `layer` is the row of the layer embedding. Local.
  void forward(const ParamSet& params, ConstMatrixView query, i64 layer, Trace& trace) const;
  /// d_weights [G, row_size()] -> d_query [G,q] and parameter gradients in lane 0. Local.
  void backward(ParamSet& params, i64 layer, const Trace& trace, ConstMatrixView d_weights, MatrixView d_query) const;
  const HyperConfig& config() const { return config_; }

 private:
  struct Head {
    ParamId w, b;
    i64 begin, size;  // columns of a row of weights
  };
  HyperConfig config_;
  i64 width_;
  ParamId layer_embedding_, trunk_w_, trunk_b_;
  std::vector<Head> heads_;
};

struct HyperTrace {
  std::vector<std::vector<std::int32_t>> sets;  // [G] sorted experts of each distinct selection of the batch
  std::vector<std::vector<std::vector<i64>>> rows;  // [my lanes][G] local tokens
  Matrix sum, hidden, query;                    // [G,e], [G,p], [G,q]
  HyperNetwork::Trace network;
  Matrix bottleneck;                            // [T,b] relu(x D + beta), row of the token
};

class HyperExpert {
 public:
  /// Adds the layer's own parameters under `prefix`; `layer` counts MoE layers. The network must outlive this.
  HyperExpert(ParamSet& params, const std::string& prefix, const HyperNetwork& network, i64 experts, i64 width, i64 layer);

  /// Adds to y [T,D]; sets are those of the selection before any capacity. Padding gets nothing. collective over the world.
  void forward(const ParamSet& params, ConstMatrixView x, const routing::Assignment& a, const StepContext& context, HyperTrace& trace,
               MatrixView y) const;
  /// Adds to d_x [T,D] and to the parameter gradients. collective over the world.
  void backward(ParamSet& params, ConstMatrixView x, ConstMatrixView d_y, const StepContext& context, const HyperTrace& trace, MatrixView d_x) const;
  double flops_per_token() const { return 4.0 * static_cast<double>(width_ * network_.config().bottleneck); }

 private:
  const HyperNetwork& network_;
  i64 experts_, width_, layer_;
  ParamId embedding_, w1_, b1_, w2_, b2_;
};

}  // namespace pleiad::model
