// Shares of equal work: how threads divide the heads and groups of residual attention.
#pragma once

#include <algorithm>
#include <vector>

#include "cpu/attention/residual_attention.h"

namespace patchgate {

inline constexpr int64_t kQueryGrain = 12;  // queries that are never split: those of a tile

// Ends of the groups, [G + 1].
struct Ends {
  const int32_t* query;
  const int32_t* key;
  int64_t groups;

  int64_t queries(int64_t g) const { return query[g + 1] - query[g]; }
  int64_t keys(int64_t g) const { return key[g + 1] - key[g]; }
};

// All heads of all groups in a row, cut into shares of equal work: groups of one call may differ a
// hundredfold in size.
class Shares {
 public:
  Shares(const Ends& ends, int64_t heads) : ends_(ends), heads_(heads) {
    const int64_t queries = ends.query[ends.groups] - ends.query[0];
    const int64_t keys = ends.key[ends.groups] - ends.key[0];
    // With few queries, groups mostly share their keys: those of one head then stay in the cache.
    // With many, a row's heads are read one soon after the other.
    heads_outermost_ = queries < keys / 4;
    for (int64_t g = 0; g < ends.groups; ++g)
      if (ends.queries(g) > 0) groups_.push_back(static_cast<int32_t>(g));
    const int64_t items = heads * std::ssize(groups_);  // no more than there are results
    before_.resize(items + 1);
    for (int64_t i = 0; i < items; ++i) before_[i + 1] = before_[i] + work(place(i).group);
  }

  int64_t total() const { return before_.back(); }

  // Calls attend(piece) for the pieces of work [begin, end); over all shares, for every query of
  // every head exactly once.
  template <class F>
  void run(int64_t begin, int64_t end, const F& attend) const {
    auto item = std::upper_bound(before_.begin(), before_.end(), begin) - before_.begin() - 1;
    for (; item + 1 < std::ssize(before_) && before_[item] < end; ++item) {
      const auto [head, g] = place(item);
      const int64_t first = split(g, begin - before_[item]), last = split(g, end - before_[item]);
      if (first < last)
        attend(Piece{head, ends_.query[g] + first, last - first, ends_.key[g], ends_.keys(g),
                     ends_.queries(g)});
    }
  }

 private:
  struct Place {
    int64_t head, group;
  };

  Place place(int64_t item) const {
    const int64_t groups = std::ssize(groups_);
    if (heads_outermost_) return {item / groups, groups_[item % groups]};
    return {item % heads_, groups_[item / heads_]};
  }

  // The query of a group at which so much of its work is done.
  int64_t split(int64_t g, int64_t done) const {
    const int64_t queries = ends_.queries(g);
    if (done <= 0) return 0;
    if (done >= work(g)) return queries;
    const auto share = static_cast<double>(done) / static_cast<double>(work(g));
    return static_cast<int64_t>(share * static_cast<double>(queries)) / kQueryGrain * kQueryGrain;
  }

  // In scores, with what a query and a key cost by themselves.
  int64_t work(int64_t g) const { return (ends_.queries(g) + 4) * (ends_.keys(g) + 4); }

  Ends ends_;
  int64_t heads_;
  bool heads_outermost_;
  std::vector<int32_t> groups_;  // that have queries
  std::vector<int64_t> before_;  // [items + 1]: work before each
};

}  // namespace patchgate
