#include "pleiad/model/dense_to_sparse.hpp"

#include <algorithm>

namespace pleiad::model {

namespace {

MatrixView values_of(ParamSet& params, const ParamInfo& p) { return {params.slice(p, params.values(p.owner)).data(), p.rows, p.cols}; }

/// blocks/1/ffn/experts/w_in -> blocks/1/ffn/experts/0/w_in, and w_in.
std::pair<std::string, std::string> dense_name(const std::string& family) {
  const std::size_t slash = family.rfind('/') + 1;
  const std::string leaf = family.substr(slash);
  return {family.substr(0, slash) + "0/" + leaf, leaf};
}

/// One parameter of expert e: its run of the dense parameter whole [., .].
void cut(ConstMatrixView whole, const std::string& leaf, i64 e, i64 experts, MatrixView out) {
  if (leaf == "w_out" || leaf == "w_down") {
    for (i64 i = 0; i < out.rows; ++i) {
      for (i64 j = 0; j < out.cols; ++j) out(i, j) = static_cast<real>(experts) * whole(i, e * out.cols + j);
    }
  } else if (leaf == "b_out") {  // sum_e p_e b_out = b_out
    copy_rows(whole, out);
  } else {  // hidden units lie one after the other
    PLEIAD_CHECK(whole.flat().size() == static_cast<std::size_t>(experts) * out.flat().size(), "{} of {} experts", leaf, experts);
    std::ranges::copy(whole.flat().subspan(static_cast<std::size_t>(e) * out.flat().size(), out.flat().size()), out.flat().begin());
  }
}

}  // namespace

void split_dense(ParamSet& dense, ParamSet& sparse, i64 experts) {
  for (const ParamInfo& p : sparse.infos()) {
    const MatrixView out = values_of(sparse, p);
    if (p.owner == Owner::expert) {
      const auto [name, leaf] = dense_name(p.family);
      const ParamInfo* whole = dense.find(name);
      PLEIAD_CHECK(whole, "no dense layer {} to cut", name);
      cut(values_of(dense, *whole), leaf, p.expert, experts, out);
    } else if (const ParamInfo* same = dense.find(p.name)) {
      PLEIAD_CHECK(same->shape == p.shape, "{} has another shape", p.name);
      copy_rows(values_of(dense, *same), out);
    } else {
      PLEIAD_CHECK(p.name.ends_with("/router/w"), "{} is no part of a dense model", p.name);
      std::ranges::fill(out.flat(), real{0});
    }
  }
}

}  // namespace pleiad::model
