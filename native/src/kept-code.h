// Compiled code on disk, so that only the first process on a machine waits for the compiler. Knows nothing of kernels.
#pragma once

#include <functional>
#include <string>

#include "guard.h"

namespace laclip {

// Gives `use` the code that `folder` has for `key`, else what `make` makes, which is kept there once `use` has taken it. `key` says everything
// that the code follows from. What is damaged, or what `use` throws at, is made anew and replaced.
// Throws what `make` throws, and `use` at code that was just made. Whatever happens to the folder costs no more than making it again; an empty
// name keeps nothing.
void use_kept_code(const std::string& folder, const std::string& key, const std::function<std::string()>& make,
                   const std::function<void(const std::string&)>& use);

// For tests: (folder, key, what is made, what is refused: "none", "kept" or "all") -> what was used
napi_value keep_code(Call& call);

}  // namespace laclip
