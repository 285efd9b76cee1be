// Contraction on the CPU: links in a queue by price, joined one after the other. Sequential by
// nature: each step changes the prices of those that follow.
#include <cmath>
#include <limits>
#include <memory>
#include <queue>
#include <utility>
#include <vector>

#include "cpu/merge/distance.h"
#include "torch.h"

namespace patchgate {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// out = b + share * (a - b); out may be either of them.
PG_SIMD_CLONES void blend(const float* a, const float* b, float share, int64_t n, float* out) {
  for (int64_t i = 0; i < n; ++i) out[i] = b[i] + share * (a[i] - b[i]);
}

// Groups of tokens. Only those that have absorbed another have a mean of their own.
class Groups {
 public:
  Groups(const float* features, const double* weight, int64_t tokens, int64_t width)
      : width_(width),
        top_(tokens),
        mean_(tokens),
        own_(tokens),
        size_(weight, weight + tokens),
        changed_(tokens),
        zero_(width) {
    for (int64_t i = 0; i < tokens; ++i) top_[i] = i, mean_[i] = features + i * width;
  }

  int64_t find(int64_t token) {
    while (top_[token] != token) token = top_[token] = top_[top_[token]];
    return token;
  }

  double distance(int64_t a, int64_t b) const {
    return squared_distance(mean_[a], mean_[b], width_, kInfinity);
  }

  double norm(int64_t a) const {
    return squared_distance(mean_[a], zero_.data(), width_, kInfinity);
  }

  double price(int64_t a, int64_t b, double squared) const {
    return std::sqrt(size_[a] / (1 + size_[a] / size_[b])) * squared;
  }

  int64_t changed(int64_t a, int64_t b) const { return std::max(changed_[a], changed_[b]); }

  // Puts the group of a into that of b.
  void join(int64_t a, int64_t b, int64_t now) {
    top_[a] = b;
    changed_[b] = now;
    if (size_[b] < kInfinity) {  // a token of infinite weight stays as it is
      const auto share = static_cast<float>(size_[a] / (size_[a] + size_[b]));
      const float *old_a = mean_[a], *old_b = mean_[b];
      Row spare = std::move(own_[a]);
      if (!own_[b]) own_[b] = spare ? std::move(spare) : take();
      if (spare) free_.push_back(std::move(spare));
      blend(old_a, old_b, share, width_, own_[b].get());
      mean_[b] = own_[b].get();
      size_[b] += size_[a];
    }
  }

 private:
  using Row = std::unique_ptr<float[]>;  // [D]

  Row take() {
    if (free_.empty()) return std::make_unique_for_overwrite<float[]>(width_);
    Row row = std::move(free_.back());
    free_.pop_back();
    return row;
  }

  int64_t width_;
  std::vector<int64_t> top_;
  std::vector<const float*> mean_;  // [D] each
  std::vector<Row> own_, free_;     // a mean or null; rows of groups that are gone
  std::vector<double> size_;
  std::vector<int64_t> changed_;  // when
  std::vector<float> zero_;
};

struct Link {
  double price;
  int64_t token;
  bool operator<(const Link& other) const {  // the queue gives its greatest first
    return std::pair(price, token) > std::pair(other.price, other.token);
  }
};

struct Limits {
  const int64_t* bin;         // [K]
  std::vector<int64_t> room;  // [B]
  int64_t most;
  double threshold;
};

void contract_all(Groups& groups, const int64_t* link, const float* distance, const double* weight,
                  int64_t tokens, Limits& limits) {
  std::vector<double> squared(distance, distance + tokens);
  std::vector<int64_t> weighed(tokens);
  std::vector<Link> links;
  for (int64_t a = 0; a < tokens; ++a) {
    if (link[a] >= 0 && weight[a] < kInfinity && squared[a] < kInfinity)
      links.push_back({groups.price(a, link[a], squared[a]), a});
  }
  std::priority_queue<Link> queue(std::less<Link>(), std::move(links));
  for (int64_t clock = 0; !queue.empty() && limits.most > 0;) {
    const int64_t a = queue.top().token, b = groups.find(link[a]);
    queue.pop();
    if (a == b || !limits.room[limits.bin[a]]) continue;
    if (groups.changed(a, b) > weighed[a]) {
      squared[a] = groups.distance(a, b);
      weighed[a] = clock;
      queue.push({groups.price(a, b, squared[a]), a});
      continue;
    }
    if (limits.threshold < kInfinity &&
        squared[a] > limits.threshold * limits.threshold * groups.norm(b))
      continue;
    groups.join(a, b, ++clock);
    --limits.room[limits.bin[a]];
    --limits.most;
  }
}

void check_entries(const Tensor& tensor, int64_t low, int64_t high, const char* name) {
  const auto* value = const_data<int64_t>(tensor);
  for (int64_t i = 0; i < tensor.size(0); ++i)
    STD_TORCH_CHECK(value[i] >= low && value[i] < high, name, ": expected ", low, "..", high - 1,
                    ", got ", value[i], " at ", i);
}

}  // namespace

Tensor contract(              // -> [K]
    const Tensor& features_,  // [K, D]
    const Tensor& weight,     // [K]
    const Tensor& link,       // [K]
    const Tensor& distance,   // [K]
    const Tensor& bin,        // [K]
    const Tensor& room,       // [B]
    int64_t most, double threshold) {
  const Tensor features = dense(features_);
  check_dense(features, ScalarType::Float, 2, "features");
  check_dense(weight, ScalarType::Double, 1, "weight");
  check_dense(link, ScalarType::Long, 1, "link");
  check_dense(distance, ScalarType::Float, 1, "distance");
  check_dense(bin, ScalarType::Long, 1, "bin");
  check_dense(room, ScalarType::Long, 1, "room");
  const int64_t tokens = features.size(0);
  for (const Tensor* each : {&weight, &link, &distance, &bin})
    STD_TORCH_CHECK(each->size(0) == tokens,
                    "contract: expected one weight, link, distance and "
                    "bin for each of the ",
                    tokens, " tokens");
  check_entries(link, -1, tokens, "link");
  check_entries(bin, 0, room.size(0), "bin");
  check_entries(room, 0, INT64_MAX, "room");
  STD_TORCH_CHECK(most >= 0, "contract: most ", most, " must be at least 0");
  const Tensor out = empty_like_device(features, {tokens}, ScalarType::Long);
  if (tokens == 0) return out;
  Groups groups(const_data<float>(features), const_data<double>(weight), tokens, features.size(1));
  const auto* rooms = const_data<int64_t>(room);
  Limits limits{const_data<int64_t>(bin), {rooms, rooms + room.size(0)}, most, threshold};
  contract_all(groups, const_data<int64_t>(link), const_data<float>(distance),
               const_data<double>(weight), tokens, limits);
  for (int64_t i = 0; i < tokens; ++i) data<int64_t>(out)[i] = groups.find(i);
  return out;
}

}  // namespace patchgate

STABLE_TORCH_LIBRARY_IMPL(patchgate, CPU, m) {
  m.impl("contract", TORCH_BOX(&patchgate::contract));
}
