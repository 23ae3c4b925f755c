// Memory and streams of the device that stands in for a GPU, and whether what two streams do with one piece of memory is in order.
//
// Work is done as soon as it is given, on whatever stream, so no number would ever show that a program forgot to wait. Instead, works are
// counted. Each stream knows how many of every stream's are done before its own next one. An event keeps what its stream knew, and a stream
// that waits for the event knows that too. Each piece of memory remembers the last work on it. Two things are errors, which on a GPU would
// be wrong numbers now and then: work on memory whose last work is another stream's that was not waited for, and memory given back in that
// state. Its own stream could have it again at once, unless it was told of the other one (record_stream).
//
// The memory ends where a test says, with the error that libtorch has for that.
#include "stand-in-memory.h"

#include <torch/version.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <bitset>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <new>
#include <utility>

#include "convert.h"
#include "device.h"

namespace laclip {

namespace {

// The one that work goes to by itself, and one beside it.
constexpr size_t kStreams = 2;
// The first so many works of each stream.
using Works = std::array<int64_t, kStreams>;

void add(Works& known, const Works& more) {
  for (size_t i = 0; i < kStreams; i++) known[i] = std::max(known[i], more[i]);
}

struct Streams {
  std::mutex mutex;
  // What is done before the next work of each stream; of its own, all that it was given.
  std::array<Works, kStreams> known{};
  // What the program has waited for, and so whatever is given from now on comes after it.
  Works done{};
  // Memory was given back too early, and nobody was told yet: who gives it back is in no place to throw.
  bool early = false;

  bool is_before(size_t next, size_t stream, int64_t work) const { return work <= std::max(known[next][stream], done[stream]); }
};
Streams streams;

thread_local size_t present = 0;

// How much memory it has, 0 for as much as there is, and what of it is in tensors, now and at most.
std::atomic<size_t> limit{0};
std::atomic<size_t> allocated{0};
std::atomic<size_t> most_allocated{0};

// Stands before every piece of memory.
struct Head {
  size_t bytes;
  size_t owner;  // the stream that may have the memory again
  // The stream that was last given work on it, and which of its works that was.
  size_t last;
  int64_t work;
  std::bitset<kStreams> told_of;  // streams that the owner waits for before it has the memory again
};
// What lies behind begins where processors like to read.
constexpr size_t kHead = 64;
static_assert(sizeof(Head) <= kHead);

Head* head_at(void* data) { return reinterpret_cast<Head*>(static_cast<char*>(data) - kHead); }

void free_memory(void* data) {
  if (data == nullptr) return;
  Head& head = *head_at(data);
  allocated -= head.bytes;
  {
    const std::lock_guard<std::mutex> lock(streams.mutex);
    if (!head.told_of[head.last] && !streams.is_before(head.owner, head.last, head.work)) streams.early = true;
  }
  std::free(&head);
}

// Null where it has no memory of the stand-in.
Head* head_of(const c10::DataPtr& data) {
  return data.get_deleter() == &free_memory && data.get() != nullptr ? head_at(data.get()) : nullptr;
}

struct StandInAllocator final : c10::Allocator {
  static c10::DataPtr make(size_t bytes) {
    if (bytes == 0) return {nullptr, nullptr, &free_memory, kStandIn};
    const size_t now = allocated += bytes;
    if (limit != 0 && now > limit) {
      allocated -= bytes;
      TORCH_CHECK_WITH(OutOfMemoryError, false, "The stand-in is out of memory. Tried to allocate ", bytes, " bytes, ", now - bytes, " of ",
                       limit.load(), " are in use.");
    }
    for (size_t before = most_allocated; before < now && !most_allocated.compare_exchange_weak(before, now);) {
    }
    char* const start = static_cast<char*>(std::malloc(bytes + kHead));
    if (start == nullptr) throw std::bad_alloc();
    new (start) Head{bytes, present, present, 0, {}};
    return {start + kHead, start + kHead, &free_memory, kStandIn};
  }
#if TORCH_VERSION_MAJOR > 2 || (TORCH_VERSION_MAJOR == 2 && TORCH_VERSION_MINOR >= 3)
  c10::DataPtr allocate(size_t bytes) override { return make(bytes); }
  void copy_data(void* to, const void* from, size_t count) const override { std::memcpy(to, from, count); }
#else
  c10::DataPtr allocate(size_t bytes) const override { return make(bytes); }
#endif
  c10::DeleterFnPtr raw_deleter() const override { return &free_memory; }
};

c10::Stream stream_of(size_t number) { return c10::Stream(c10::Stream::UNSAFE, kStandIn, static_cast<c10::StreamId>(number)); }

size_t number_of(const c10::Stream& stream) { return static_cast<size_t>(stream.id()); }

void finish(const Works& works) {
  const std::lock_guard<std::mutex> lock(streams.mutex);
  add(streams.done, works);
}

// One device. Whoever asks whether a stream or an event is done hears that it is, and knows it from then on.
struct Guard final : c10::impl::DeviceGuardImplInterface {
  c10::DeviceType type() const override { return kStandIn.type(); }
  c10::Device exchangeDevice(c10::Device) const override { return kStandIn; }
  c10::Device getDevice() const override { return kStandIn; }
  void setDevice(c10::Device) const override {}
  void uncheckedSetDevice(c10::Device) const noexcept override {}
  c10::DeviceIndex deviceCount() const noexcept override { return 1; }

  c10::Stream getStream(c10::Device) const noexcept override { return stream_of(present); }
  c10::Stream getDefaultStream(c10::Device) const override { return stream_of(0); }
  c10::Stream getStreamFromGlobalPool(c10::Device, bool) const override { return stream_of(1); }
  c10::Stream exchangeStream(c10::Stream stream) const noexcept override { return stream_of(std::exchange(present, number_of(stream))); }
  bool queryStream(const c10::Stream& stream) const override {
    synchronizeStream(stream);
    return true;
  }
  void synchronizeStream(const c10::Stream& stream) const override { finish(streams.known[number_of(stream)]); }
  void recordDataPtrOnStream(const c10::DataPtr& data, const c10::Stream& stream) const override {
    const std::lock_guard<std::mutex> lock(streams.mutex);
    if (Head* const head = head_of(data)) head->told_of.set(number_of(stream));
  }

  void record(void** event, const c10::Stream& stream, const c10::DeviceIndex, const c10::EventFlag) const override {
    if (*event == nullptr) *event = new Works{};
    const std::lock_guard<std::mutex> lock(streams.mutex);
    *static_cast<Works*>(*event) = streams.known[number_of(stream)];
  }
  void block(void* event, const c10::Stream& stream) const override {
    const std::lock_guard<std::mutex> lock(streams.mutex);
    add(streams.known[number_of(stream)], *static_cast<Works*>(event));
  }
  bool queryEvent(void* event) const override {
    synchronizeEvent(event);
    return true;
  }
  // Virtual in newer libtorches.
  void synchronizeEvent(void* event) const { finish(*static_cast<Works*>(event)); }
  void destroyEvent(void* event, const c10::DeviceIndex) const noexcept override { delete static_cast<Works*>(event); }
};

}  // namespace

c10::Allocator& stand_in_allocator() {
  static StandInAllocator allocator;
  return allocator;
}

const c10::impl::DeviceGuardImplInterface& stand_in_guard() {
  static const Guard guard;
  return guard;
}

void use_on_stream(const at::Tensor& tensor) {
  Head* const head = head_of(tensor.storage().data_ptr());
  const std::lock_guard<std::mutex> lock(streams.mutex);
  if (std::exchange(streams.early, false)) {
    throw std::runtime_error("memory of the stand-in was given back while a stream was at work on it that its own had not been told of");
  }
  if (head == nullptr) return;
  if (!streams.is_before(present, head->last, head->work)) {
    throw std::runtime_error("a stream of the stand-in works on memory of another one that it has not waited for");
  }
  head->last = present;
  head->work = ++streams.known[present][present];
}

void finish_stream() { stand_in_guard().synchronizeStream(stream_of(present)); }

// (bytes): how much memory it has from now on; 0 for as much as there is
napi_value stand_in_memory(Call& call) {
  const double bytes = to_double(call.env, call[0]);
  if (!(bytes >= 0)) throw std::runtime_error("memory of the stand-in: expected 0 bytes or more");
  limit = static_cast<size_t>(bytes);
  return undefined(call.env);
}

// () -> how many works its stream for copies was given up to now
napi_value stand_in_works_aside(Call& call) {
  const std::lock_guard<std::mutex> lock(streams.mutex);
  return from_double(call.env, static_cast<double>(streams.known[1][1]));
}

MemoryOfDevice memory_of_stand_in() {
  const size_t total = limit, now = allocated;
  return {now, most_allocated, now, total > now ? total - now : 0, total};
}

void reset_peak_of_stand_in() { most_allocated = allocated.load(); }

}  // namespace laclip
