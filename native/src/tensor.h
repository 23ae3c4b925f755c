#pragma once

#include "guard.h"

namespace laclip {

napi_value tensor_from_bytes(Call& call);
napi_value tensor_to_bytes(Call& call);
napi_value tensor_copy_bytes(Call& call);
napi_value tensor_shape(Call& call);
napi_value tensor_dtype(Call& call);
napi_value tensor_device(Call& call);
napi_value tensor_item(Call& call);
napi_value tensor_release(Call& call);
napi_value tensor_release_many(Call& call);
napi_value tensor_account(Call& call);
napi_value tensor_is_same(Call& call);

}  // namespace laclip
