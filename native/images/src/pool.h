// Threads that do jobs for every JavaScript thread of the process, and promises that tell when a job is done.
//
// A job runs on a thread that knows nothing of JavaScript. Its promise is settled on the thread that asked. When that thread ends, its
// jobs that wait are dropped and those that run are waited for, so that none writes to memory that is gone.
#pragma once

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <vector>

#define NAPI_VERSION 9
#include <node_api.h>

namespace laclip::images {

class Environment;

class Job {
 public:
  virtual ~Job() = default;
  // On a thread of the pool. Must not throw.
  virtual void run() = 0;
  // On the JavaScript thread afterwards: the number that the promise is resolved with.
  virtual int settle(napi_env env) = 0;

 private:
  friend class Environment;
  friend class Pool;
  Environment* environment_ = nullptr;
  napi_deferred deferred_ = nullptr;

 protected:
  // JavaScript values that must live as long as the job.
  std::vector<napi_ref> held_;
};

// What one JavaScript thread has asked for.
class Environment {
 public:
  // Makes the environment of this thread; called once, when the addon is loaded on it.
  static bool create(napi_env env);
  static Environment* of(napi_env env);

  // A promise of a number, or null with an exception pending.
  napi_value submit(napi_env env, std::unique_ptr<Job> job);

 private:
  friend class Pool;
  static void close(void* self);
  static void settleFinished(napi_env env, napi_value, void* self, void*);
  void finished(std::unique_ptr<Job> job);
  static void release(napi_env env, Job& job);

  napi_env env_ = nullptr;
  napi_threadsafe_function wake_ = nullptr;
  size_t pending_ = 0;
  std::mutex mutex_;
  std::condition_variable idle_;
  size_t waiting_ = 0;
  size_t running_ = 0;
  bool closed_ = false;
  std::vector<std::unique_ptr<Job>> done_;
};

// The threads of the process.
class Pool {
 public:
  static Pool& get();
  void setThreads(size_t count);
  size_t threads();

 private:
  friend class Environment;
  void add(std::unique_ptr<Job> job);
  // The jobs of an environment that have not begun.
  std::vector<std::unique_ptr<Job>> withdraw(const Environment* environment);
  void doNext(std::unique_lock<std::mutex>& lock);
  void work();

  std::mutex mutex_;
  std::condition_variable ready_;
  std::deque<std::unique_ptr<Job>> waiting_;
  // 0: not set yet, which means one.
  size_t wanted_ = 0;
  size_t alive_ = 0;
  size_t idle_ = 0;
};

}  // namespace laclip::images
