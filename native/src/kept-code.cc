// A file holds a line of its own, the whole key and the code. The key is compared byte by byte, so the hash in the file's name only has to spread
// keys: two with the same name take each other's place, and neither gets the other's code. The line has the code's length and sum, which
// tell what a full disk, or power that fails, leaves of a file.
//
// It is written under a name that nobody else has, then renamed. So processes that begin together write the same file one after another, and
// a reader sees all of one or none.
#include "kept-code.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <fstream>
#include <iterator>
#include <random>
#include <stdexcept>

#include "convert.h"

namespace laclip {

namespace {

// FNV-1a of 64 bits.
std::string sum(const std::string& text) {
  uint64_t hash = 0xcbf29ce484222325;
  for (const unsigned char byte : text) hash = (hash ^ byte) * 0x100000001b3;
  char digits[17];
  std::snprintf(digits, sizeof digits, "%016llx", static_cast<unsigned long long>(hash));
  return digits;
}

// What a file of this key and code begins with.
std::string head_of(const std::string& key, const std::string& code) {
  return "laclip code 1: key of " + std::to_string(key.size()) + " bytes, code of " + std::to_string(code.size()) + " bytes with sum " + sum(code) +
         "\n" + key;
}

// Whether the file has code for the key, whole.
bool read_code(const std::string& path, const std::string& key, std::string& code) {
  try {
    std::ifstream file(path, std::ios::binary);
    if (!file) return false;
    const std::string all{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
    const size_t line = all.find('\n');
    if (line == std::string::npos || all.size() - line - 1 < key.size()) return false;
    code = all.substr(line + 1 + key.size());
    const std::string head = head_of(key, code);
    return all.compare(0, all.size() - code.size(), head) == 0;
  } catch (const std::exception&) {
    return false;
  }
}

bool make_folder(const std::string& folder) {
  if (mkdir(folder.c_str(), 0777) == 0 || errno == EEXIST) return true;
  const size_t slash = folder.find_last_of('/');
  if (errno != ENOENT || slash == std::string::npos || slash == 0) return false;
  // Another process may make it in between.
  return make_folder(folder.substr(0, slash)) && (mkdir(folder.c_str(), 0777) == 0 || errno == EEXIST);
}

void write_code(const std::string& folder, const std::string& path, const std::string& key, const std::string& code) {
  try {
    if (!make_folder(folder)) return;
    // Processes of two machines, or of two containers, that share the folder may have the same number.
    std::random_device random;
    const std::string partial = path + "." + std::to_string(getpid()) + "-" + std::to_string(random()) + ".partial";
    std::ofstream file(partial, std::ios::binary);
    if (!file) return;
    file << head_of(key, code) << code;
    file.close();
    if (file.fail() || std::rename(partial.c_str(), path.c_str()) != 0) std::remove(partial.c_str());
  } catch (const std::exception&) {
    // Made again next time.
  }
}

}  // namespace

void use_kept_code(const std::string& folder, const std::string& key, const std::function<std::string()>& make,
                   const std::function<void(const std::string&)>& use) {
  if (folder.empty()) return use(make());
  const std::string path = folder + "/" + sum(key);
  std::string code;
  if (read_code(path, key, code)) {
    try {
      return use(code);
    } catch (const std::exception&) {
      // A driver may refuse what another one took. If it is at fault itself, it says so about new code too.
    }
  }
  code = make();
  use(code);
  write_code(folder, path, key, code);
}

napi_value keep_code(Call& call) {
  const std::string made = to_string(call.env, call[2]);
  const std::string refused = to_string(call.env, call[3]);
  std::string used;
  use_kept_code(
      to_string(call.env, call[0]), to_string(call.env, call[1]), [&] { return made; },
      [&](const std::string& code) {
        if (refused == "all" || (refused == "kept" && code != made)) throw std::runtime_error("refused");
        used = code;
      });
  return from_string(call.env, used);
}

}  // namespace laclip
