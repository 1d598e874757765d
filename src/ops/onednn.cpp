// Products by oneDNN. Making a primitive takes 100 us and more, running one 0.3 us: one is kept for every shape that was asked for.
#include "gemm_detail.hpp"

#if defined(PLEIAD_HAVE_ONEDNN) && !defined(PLEIAD_DOUBLE)

#include <omp.h>

#include <dnnl.hpp>
#include <unordered_map>

namespace pleiad::ops::detail {

namespace {

struct Key {
  i64 m, n, k, lead_a, lead_b, lead_c;
  bool ta, tb, add, bf16;
  bool operator==(const Key&) const = default;
};

struct KeyHash {
  std::size_t operator()(const Key& key) const {
    std::uint64_t h = static_cast<std::uint64_t>(key.ta) | static_cast<std::uint64_t>(key.tb) << 1 | static_cast<std::uint64_t>(key.add) << 2 |
                      static_cast<std::uint64_t>(key.bf16) << 3;
    for (const i64 x : {key.m, key.n, key.k, key.lead_a, key.lead_b, key.lead_c}) h = (h ^ static_cast<std::uint64_t>(x)) * 0x9e3779b97f4a7c15u;
    return h ^ h >> 32;
  }
};

/// A primitive and the descriptions of what it works on, whose addresses are set anew for each run.
struct Product {
  dnnl::matmul primitive;
  dnnl::memory a, b, c, scratch;
  std::unordered_map<int, dnnl::memory> arguments;
};

class Products {
 public:
  // The library's own store takes layouts for equal that get different kernels, with sums in another order: what was made first would decide about bits.
  Products() { dnnl::set_primitive_cache_capacity(0); }

  void run(const Key& key, const void* a, const void* b, void* c) {
    Product& p = product(key);
    // Not written to; the interface of the library knows no constant memory.
    p.a.set_data_handle(const_cast<void*>(a));
    p.b.set_data_handle(const_cast<void*>(b));
    p.c.set_data_handle(c);
    scratch_.reserve_uninitialised(static_cast<i64>(p.scratch.get_desc().get_size()));
    p.scratch.set_data_handle(scratch_.data());
    p.primitive.execute(stream_, p.arguments);
  }
  void forget() {
    young_.clear();
    old_.clear();
  }

 private:
  using Made = std::unordered_map<Key, Product, KeyHash>;
  // The heights of tiles come in classes (experts/ffn_bank.hpp), but every width of experts has its own shapes, and a kernel takes some 70 KB: those
  // that were not asked for during the last k_generation new ones are forgotten.
  static constexpr std::size_t k_generation = 4096;

  Product& product(const Key& key) {
    if (const auto found = young_.find(key); found != young_.end()) return found->second;
    if (young_.size() >= k_generation) {
      old_ = std::move(young_);
      young_.clear();
    }
    auto kept = old_.extract(key);
    return (kept ? young_.insert(std::move(kept)).position : young_.emplace(key, make(key)).first)->second;
  }

  static dnnl::memory::desc describe(i64 rows, i64 cols, bool transposed, i64 lead, dnnl::memory::data_type type) {
    return {{rows, cols}, type, transposed ? dnnl::memory::dims{1, lead} : dnnl::memory::dims{lead, 1}};
  }

  Product make(const Key& key) const {
    const auto type = key.bf16 ? dnnl::memory::data_type::bf16 : dnnl::memory::data_type::f32;
    const auto a = describe(key.m, key.k, key.ta, key.lead_a, type), b = describe(key.k, key.n, key.tb, key.lead_b, type),
               c = describe(key.m, key.n, false, key.lead_c, dnnl::memory::data_type::f32);
    dnnl::post_ops after;
    dnnl::primitive_attr attributes;
    if (key.add) after.append_sum(1);
    attributes.set_post_ops(after);
    attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);  // one for all instead of one for each
#if DNNL_VERSION_MAJOR >= 3
    const dnnl::matmul::primitive_desc description(engine_, a, b, c, attributes);
#else
    const dnnl::matmul::primitive_desc description(dnnl::matmul::desc(a, b, c), attributes, engine_);
#endif
    Product p{dnnl::matmul(description), {a, engine_, nullptr}, {b, engine_, nullptr}, {c, engine_, nullptr},
              {description.scratchpad_desc(), engine_, nullptr}, {}};
    p.arguments = {{DNNL_ARG_SRC, p.a}, {DNNL_ARG_WEIGHTS, p.b}, {DNNL_ARG_DST, p.c}, {DNNL_ARG_SCRATCHPAD, p.scratch}};
    return p;
  }

  dnnl::engine engine_{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream_{engine_};
  Made young_, old_;
  Buffer<char> scratch_;
};

Products& products() {
  thread_local Products mine;
  return mine;
}

// The distance to the next row where there is one: a single row takes the same kernel wherever it lies.
template <class T>
i64 leading(View<T> v) {
  return v.rows > 1 ? v.stride : v.cols;
}

}  // namespace

bool onednn_available() { return true; }
bool onednn_has_avx512() {
  switch (dnnl::get_effective_cpu_isa()) {
    case dnnl::cpu_isa::sse41:
    case dnnl::cpu_isa::avx:
    case dnnl::cpu_isa::avx2:
#if DNNL_VERSION_MAJOR >= 3
    case dnnl::cpu_isa::avx2_vnni_2:
#endif
    case dnnl::cpu_isa::avx2_vnni: return false;
    default: return true;
  }
}

void onednn_gemm(const Extents& e, Trans ta, Trans tb, ConstMatrixView a, ConstMatrixView b, bool add, MatrixView c) {
  products().run({e.m, e.n, e.k, leading(a), leading(b), leading(c), ta == Trans::yes, tb == Trans::yes, add, false}, a.data, b.data,
                 c.data);
}

std::string onednn_bf16_missing() {
  switch (dnnl::get_effective_cpu_isa()) {
    case dnnl::cpu_isa::avx512_core_bf16:
    case dnnl::cpu_isa::avx512_core_amx:
#if DNNL_VERSION_MAJOR >= 3
    case dnnl::cpu_isa::avx512_core_fp16:
    case dnnl::cpu_isa::avx512_core_amx_fp16:
#endif
      return "";
    default: return "this processor does not multiply bf16 numbers (AVX512-BF16 or AMX)";
  }
}

void onednn_gemm_bf16(const Extents& e, Trans ta, Trans tb, View<const bf16> a, View<const bf16> b, bool add, MatrixView c) {
  products().run({e.m, e.n, e.k, leading(a), leading(b), leading(c), ta == Trans::yes, tb == Trans::yes, add, true}, a.data, b.data, c.data);
}

void onednn_set_threads(int threads) {
  omp_set_num_threads(threads);
  products().forget();  // a primitive is made for a number of threads
}

std::string onednn_description() {
  const dnnl_version_t* v = dnnl_version();
  const char* isa = dnnl::get_effective_cpu_isa() == dnnl::cpu_isa::avx512_core_amx ? "AMX"
                    : onednn_bf16_missing().empty()                                ? "AVX512-BF16"
                                                                                    : "no bf16";
  return fmt::format("oneDNN {}.{}.{} ({})", v->major, v->minor, v->patch, isa);
}

}  // namespace pleiad::ops::detail

#else

namespace pleiad::ops::detail {

bool onednn_available() { return false; }
bool onednn_has_avx512() { return false; }
void onednn_gemm(const Extents&, Trans, Trans, ConstMatrixView, ConstMatrixView, bool, MatrixView) { PLEIAD_CHECK(false, "no oneDNN"); }
std::string onednn_bf16_missing() { return "this build has no oneDNN (Debian package libdnnl-dev)"; }
void onednn_gemm_bf16(const Extents&, Trans, Trans, View<const bf16>, View<const bf16>, bool, MatrixView) { PLEIAD_CHECK(false, "no oneDNN"); }
void onednn_set_threads(int) {}
std::string onednn_description() { return "no oneDNN"; }

}  // namespace pleiad::ops::detail

#endif
