// JavaScript values <-> C++ values.
#pragma once

#include <ATen/ATen.h>
#include <ATen/core/ivalue.h>
#include <node_api.h>

#include <string>
#include <vector>

#include "environment.h"
#include "guard.h"

namespace laclip {

double to_double(napi_env env, napi_value value);
int64_t to_int(napi_env env, napi_value value);
bool to_bool(napi_env env, napi_value value);
std::string to_string(napi_env env, napi_value value);
std::vector<int64_t> to_int_list(napi_env env, napi_value value);
std::vector<double> to_double_list(napi_env env, napi_value value);

napi_value from_double(napi_env env, double value);
napi_value from_bool(napi_env env, bool value);
napi_value from_string(napi_env env, const std::string& value);
napi_value from_ints(napi_env env, c10::IntArrayRef values);
napi_value undefined(napi_env env);

// Names of element types, shared with src/torch/dtype.ts: "float32", "bfloat16", "int64", "bool", ...
c10::ScalarType parse_dtype(const std::string& name);
const char* dtype_name(c10::ScalarType type);

// One argument of an operator. Throws with the argument's name, what was expected and what came.
c10::IValue to_argument(Call& call, const ArgumentPlan& plan, napi_value value);
// One result of an operator: tensors become new handles.
napi_value from_result(Call& call, c10::IValue&& value);

}  // namespace laclip
