#include "pool.h"

#include <algorithm>
#include <system_error>
#include <thread>

namespace laclip::images {
namespace {

// Waking a thread for each small image is dear. So while jobs of the same thread wait, their promises are settled in groups.
constexpr size_t settledAtOnce = 4;

}  // namespace

bool Environment::create(napi_env env) {
  auto environment = std::make_unique<Environment>();
  environment->env_ = env;
  napi_value name;
  if (napi_create_string_utf8(env, "laclip images", NAPI_AUTO_LENGTH, &name) != napi_ok) return false;
  if (napi_create_threadsafe_function(env, nullptr, nullptr, name, 0, 1, nullptr, nullptr, environment.get(), settleFinished,
                                      &environment->wake_) != napi_ok)
    return false;
  // Only jobs keep the program alive.
  napi_unref_threadsafe_function(env, environment->wake_);
  // Hooks run last first: this one before that of the function above, which must not be called after its own.
  if (napi_add_env_cleanup_hook(env, close, environment.get()) != napi_ok) return false;
  const auto destroy = [](napi_env, void* self, void*) { delete static_cast<Environment*>(self); };
  return napi_set_instance_data(env, environment.release(), destroy, nullptr) == napi_ok;
}

Environment* Environment::of(napi_env env) {
  void* self = nullptr;
  napi_get_instance_data(env, &self);
  return static_cast<Environment*>(self);
}

napi_value Environment::submit(napi_env env, std::unique_ptr<Job> job) {
  napi_value promise;
  if (napi_create_promise(env, &job->deferred_, &promise) != napi_ok) {
    release(env, *job);
    return nullptr;
  }
  job->environment_ = this;
  if (pending_++ == 0) napi_ref_threadsafe_function(env, wake_);
  {
    const std::lock_guard lock(mutex_);
    waiting_++;
  }
  Pool::get().add(std::move(job));
  return promise;
}

void Environment::release(napi_env env, Job& job) {
  for (napi_ref reference : job.held_) napi_delete_reference(env, reference);
  job.held_.clear();
}

void Environment::finished(std::unique_ptr<Job> job) {
  const std::lock_guard lock(mutex_);
  running_--;
  done_.push_back(std::move(job));
  if (closed_) {
    idle_.notify_all();
  } else if (waiting_ <= settledAtOnce || done_.size() >= settledAtOnce) {
    napi_call_threadsafe_function(wake_, nullptr, napi_tsfn_nonblocking);
  }
}

void Environment::settleFinished(napi_env env, napi_value, void* self, void*) {
  // Without an environment this is the queue being emptied at its end.
  if (env == nullptr) return;
  auto& environment = *static_cast<Environment*>(self);
  std::vector<std::unique_ptr<Job>> done;
  {
    const std::lock_guard lock(environment.mutex_);
    done.swap(environment.done_);
  }
  for (const auto& job : done) {
    napi_handle_scope scope;
    if (napi_open_handle_scope(env, &scope) != napi_ok) return;
    napi_value result;
    if (napi_create_int32(env, job->settle(env), &result) == napi_ok) napi_resolve_deferred(env, job->deferred_, result);
    release(env, *job);
    napi_close_handle_scope(env, scope);
  }
  environment.pending_ -= done.size();
  if (environment.pending_ == 0) napi_unref_threadsafe_function(env, environment.wake_);
}

void Environment::close(void* self) {
  auto& environment = *static_cast<Environment*>(self);
  for (const auto& job : Pool::get().withdraw(&environment)) release(environment.env_, *job);
  std::unique_lock lock(environment.mutex_);
  environment.closed_ = true;
  environment.idle_.wait(lock, [&] { return environment.running_ == 0; });
  for (const auto& job : environment.done_) release(environment.env_, *job);
  environment.done_.clear();
}

Pool& Pool::get() {
  // Never destroyed: its threads may still wait while the process ends.
  static Pool* const pool = new Pool;
  return *pool;
}

void Pool::setThreads(size_t count) {
  {
    const std::lock_guard lock(mutex_);
    wanted_ = std::max<size_t>(1, count);
  }
  ready_.notify_all();
}

size_t Pool::threads() {
  const std::lock_guard lock(mutex_);
  return wanted_;
}

void Pool::add(std::unique_ptr<Job> job) {
  bool spawn = false;
  {
    const std::lock_guard lock(mutex_);
    waiting_.push_back(std::move(job));
    spawn = waiting_.size() > idle_ && alive_ < std::max<size_t>(1, wanted_);
    if (spawn) alive_++;
  }
  if (spawn) {
    try {
      std::thread([this] { work(); }).detach();
    } catch (const std::system_error&) {
      // The system has no thread left to give. Those that are there do the work; without any, this one does.
      std::unique_lock lock(mutex_);
      alive_--;
      while (alive_ == 0 && !waiting_.empty()) doNext(lock);
    }
  }
  ready_.notify_one();
}

std::vector<std::unique_ptr<Job>> Pool::withdraw(const Environment* environment) {
  const std::lock_guard lock(mutex_);
  std::vector<std::unique_ptr<Job>> taken;
  std::deque<std::unique_ptr<Job>> others;
  for (auto& job : waiting_) {
    if (job->environment_ == environment) {
      taken.push_back(std::move(job));
    } else {
      others.push_back(std::move(job));
    }
  }
  waiting_.swap(others);
  return taken;
}

void Pool::doNext(std::unique_lock<std::mutex>& lock) {
  std::unique_ptr<Job> job = std::move(waiting_.front());
  waiting_.pop_front();
  Environment& environment = *job->environment_;
  {
    // Before the queue's lock is given back: an environment that closes sees a job either here or there.
    const std::lock_guard running(environment.mutex_);
    environment.waiting_--;
    environment.running_++;
  }
  lock.unlock();
  job->run();
  environment.finished(std::move(job));
  lock.lock();
}

void Pool::work() {
  std::unique_lock lock(mutex_);
  while (alive_ <= std::max<size_t>(1, wanted_)) {
    if (waiting_.empty()) {
      idle_++;
      ready_.wait(lock);
      idle_--;
      continue;
    }
    doNext(lock);
  }
  alive_--;
  // Another one may have been woken for a job that this thread leaves.
  ready_.notify_one();
}

}  // namespace laclip::images
