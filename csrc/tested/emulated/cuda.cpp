#include "tested/emulated/cuda.h"

#include <ucontext.h>

#include <algorithm>
#include <csetjmp>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

namespace patchgate {

emulate::Index3 threadIdx, blockIdx, blockDim, gridDim;

namespace emulate {
namespace {

constexpr size_t kStackBytes = 128 << 10;

struct Fiber;

// Threads that wait for each other. The last to come wakes all.
struct Barrier {
  unsigned members = 0;  // threads that have not ended
  std::vector<Fiber*> waiting;
};

struct Warp {
  Barrier barrier;
  unsigned round = 0;
  uint64_t values[2][32] = {};  // by round: a slow lane still reads those of the round before
};

struct Block {
  Index3 index;
  Barrier barrier;
  unsigned round = 0;
  int votes[2] = {};  // by round, as a warp's values
  std::vector<Warp> warps;
  std::vector<unsigned char> shared;
};

struct Fiber {
  Index3 thread;
  Block* block = nullptr;
  Warp* warp = nullptr;
  unsigned lane = 0;
  bool started = false, ended = false;
  ucontext_t context;
  jmp_buf place;
  std::unique_ptr<unsigned char[]> stack;
};

class Machine {
 public:
  Machine(const Launch& launch, const std::function<void()>& kernel)
      : launch_(launch), kernel_(kernel), random_(launch.seed) {}

  void run();
  void wait(Barrier& barrier);
  void yield();
  void fail(const char* why);
  uint64_t* exchange(unsigned mask, uint64_t mine);
  int vote(bool mine);
  Fiber& current() { return *current_; }
  Barrier& grid() { return grid_; }
  static void enter();

 private:
  unsigned count(Index3 size) const { return size.x * size.y * size.z; }
  static Index3 index_of(unsigned i, Index3 size) {
    return {i % size.x, i / size.x % size.y, i / size.x / size.y};
  }
  Fiber* next();
  void start_block();
  void resume(Fiber& fiber);
  void suspend();
  void release(Barrier& barrier);
  void leave(Barrier& barrier);
  void end(Fiber& fiber);

  const Launch launch_;
  const std::function<void()>& kernel_;
  std::mt19937 random_;
  std::vector<unsigned> to_start_;  // blocks, in an order drawn by chance
  std::vector<std::unique_ptr<Block>> blocks_;
  std::vector<std::unique_ptr<Fiber>> fibers_;
  std::vector<std::unique_ptr<unsigned char[]>> free_stacks_;
  std::vector<Fiber*> ready_;
  Barrier grid_;
  Fiber* current_ = nullptr;
  jmp_buf scheduler_;
  std::string error_;
};

Machine* machine = nullptr;

void Machine::run() {
  const unsigned blocks = count(launch_.blocks);
  for (unsigned i = 0; i < blocks; ++i) to_start_.push_back(i);
  std::shuffle(to_start_.begin(), to_start_.end(), random_);
  grid_.members = blocks * count(launch_.threads);
  blockDim = launch_.threads, gridDim = launch_.blocks;
  const unsigned resident = launch_.resident > 0 ? std::min(launch_.resident, blocks) : blocks;
  for (unsigned i = 0; i < resident; ++i) start_block();
  while (!ready_.empty() && error_.empty()) {
    Fiber* fiber = next();
    resume(*fiber);
    if (fiber->ended) end(*fiber);
  }
  if (error_.empty() && grid_.members > 0)
    error_ = "threads wait at a barrier that others passed by";
  if (!error_.empty()) throw std::runtime_error(error_);
}

// Who runs next. Even seeds: mostly whoever could go on last, so that some warps run far ahead of
// the others; odd ones: any, so that all go on alike.
Fiber* Machine::next() {
  const bool any = launch_.seed % 2 == 1 || random_() % 64 == 0;
  if (any) std::swap(ready_[random_() % ready_.size()], ready_.back());
  Fiber* fiber = ready_.back();
  ready_.pop_back();
  return fiber;
}

void Machine::start_block() {
  if (to_start_.empty()) return;
  const unsigned threads = count(launch_.threads);
  auto block = std::make_unique<Block>();
  block->index = index_of(to_start_.back(), launch_.blocks);
  to_start_.pop_back();
  block->barrier.members = threads;
  block->warps.resize((threads + 31) / 32);
  block->shared.resize(launch_.shared_bytes);
  for (unsigned char& byte : block->shared) byte = static_cast<unsigned char>(random_());
  for (unsigned i = 0; i < threads; ++i) {
    auto fiber = std::make_unique<Fiber>();
    fiber->thread = index_of(i, launch_.threads);
    fiber->block = block.get();
    fiber->warp = &block->warps[i / 32];
    fiber->lane = i % 32;
    ++fiber->warp->barrier.members;
    ready_.push_back(fiber.get());
    fibers_.push_back(std::move(fiber));
  }
  blocks_.push_back(std::move(block));
}

// The first switch to a fiber sets up its stack; the others are jumps, which ask nothing of the
// operating system.
void Machine::resume(Fiber& fiber) {
  current_ = &fiber;
  threadIdx = fiber.thread, blockIdx = fiber.block->index;
  if (_setjmp(scheduler_) != 0) return;
  if (fiber.started) _longjmp(fiber.place, 1);
  fiber.started = true;
  if (free_stacks_.empty())
    free_stacks_.push_back(std::make_unique_for_overwrite<unsigned char[]>(kStackBytes));
  fiber.stack = std::move(free_stacks_.back());
  free_stacks_.pop_back();
  getcontext(&fiber.context);
  fiber.context.uc_stack.ss_sp = fiber.stack.get();
  fiber.context.uc_stack.ss_size = kStackBytes;
  fiber.context.uc_link = nullptr;
  makecontext(&fiber.context, &Machine::enter, 0);
  setcontext(&fiber.context);
}

void Machine::enter() {
  machine->kernel_();
  machine->current_->ended = true;
  machine->suspend();
}

void Machine::suspend() {
  if (_setjmp(current_->place) == 0) _longjmp(scheduler_, 1);
}

void Machine::wait(Barrier& barrier) {
  barrier.waiting.push_back(current_);
  release(barrier);
  suspend();
}

void Machine::release(Barrier& barrier) {
  if (barrier.waiting.size() < barrier.members) return;
  ready_.insert(ready_.end(), barrier.waiting.begin(), barrier.waiting.end());
  barrier.waiting.clear();
}

void Machine::leave(Barrier& barrier) {
  --barrier.members;
  if (!barrier.waiting.empty()) release(barrier);
}

void Machine::end(Fiber& fiber) {
  free_stacks_.push_back(std::move(fiber.stack));
  leave(fiber.warp->barrier);
  leave(fiber.block->barrier);
  leave(grid_);
  if (fiber.block->barrier.members == 0) start_block();
}

void Machine::yield() {
  ready_.insert(ready_.begin(), current_);  // behind all others
  suspend();
}

void Machine::fail(const char* why) {
  error_ = why;
  suspend();
}

uint64_t* Machine::exchange(unsigned mask, uint64_t mine) {
  if (mask != ~0u) fail("a warp's lanes must all take part");
  Warp& warp = *current_->warp;
  const unsigned round = warp.round;
  warp.values[round % 2][current_->lane] = mine;
  if (warp.barrier.waiting.size() + 1 == warp.barrier.members) ++warp.round;
  wait(warp.barrier);
  return warp.values[round % 2];
}

int Machine::vote(bool mine) {
  Block& block = *current_->block;
  const unsigned round = block.round;
  block.votes[round % 2] += mine;
  if (block.barrier.waiting.size() + 1 == block.barrier.members) block.votes[++block.round % 2] = 0;
  wait(block.barrier);
  return block.votes[round % 2];
}

}  // namespace

void run(const Launch& launch, const std::function<void()>& kernel) {
  Machine now(launch, kernel);
  machine = &now;
  now.run();
}

unsigned char* shared_memory() { return machine->current().block->shared.data(); }
int wait_for_block(bool vote) { return machine->vote(vote); }
void wait_for_grid() { machine->wait(machine->grid()); }
void yield() { machine->yield(); }
uint64_t* exchange(unsigned mask, uint64_t mine) { return machine->exchange(mask, mine); }
void fail(const char* why) { machine->fail(why); }

}  // namespace emulate
}  // namespace patchgate
