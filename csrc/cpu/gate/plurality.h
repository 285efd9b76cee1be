// The vote for a moved cell's source, on the CPU. cuda/gate/gate_vote.h has it for a warp.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

namespace patchgate {

// The id with the most pixels in a cell, ties to the smallest. Neighbouring pixels mostly share an
// id, so runs are counted: into a small table, for few distinct ids live in one cell. Slow motion
// can break a picture up into many: then the runs are sorted by their ids.
inline int32_t plurality(const int32_t* ids, int64_t stride, int cell) {
  const auto each_run = [&](auto&& count) {
    for (int y = 0; y < cell; ++y)
      for (int x = 0, run; x < cell; x += run) {
        const int32_t* row = ids + y * stride + x;
        for (run = 1; x + run < cell && row[run] == row[0];) ++run;
        if (!count(row[0], run)) return false;
      }
    return true;
  };
  int32_t best = ids[0];
  int most = 0;
  const auto offer = [&](int32_t id, int votes) {
    if (votes > most || (votes == most && id < best)) most = votes, best = id;
  };

  constexpr int kTable = 8;
  std::pair<int32_t, int> table[kTable];  // id, votes
  int distinct = 0;
  const bool fits = each_run([&](int32_t id, int run) {
    int i = 0;
    while (i < distinct && table[i].first != id) ++i;
    if (i == kTable) return false;
    if (i == distinct) table[distinct++] = {id, 0};
    table[i].second += run;
    return true;
  });
  if (fits) {
    for (int i = 0; i < distinct; ++i) offer(table[i].first, table[i].second);
    return best;
  }

  thread_local std::vector<std::pair<int32_t, int>> runs;
  runs.clear();
  each_run([&](int32_t id, int run) { return runs.emplace_back(id, run), true; });
  std::sort(runs.begin(), runs.end());
  for (size_t i = 0; i < runs.size();) {
    const int32_t id = runs[i].first;
    int votes = 0;
    for (; i < runs.size() && runs[i].first == id; ++i) votes += runs[i].second;
    offer(id, votes);
  }
  return best;
}

}  // namespace patchgate
