// How this library was built, as text: the one function that Python calls without torch.
#include <string>

#include "cpu/simd.h"

namespace patchgate {
namespace {

std::string build_info() {
  std::string lines = "version=" PATCHGATE_VERSION "\n";
#ifdef __clang__
  lines += "compiler=clang " __clang_version__ "\n";
#else
  lines += "compiler=gcc " __VERSION__ "\n";
#endif
  lines += "cuda_architectures=" PATCHGATE_CUDA_ARCHITECTURES "\n";  // "80-real,90-real", or empty
  return lines + "simd=" + simd_level() + "\n";
}

}  // namespace
}  // namespace patchgate

// "name=value" lines; never freed.
extern "C" __attribute__((visibility("default"))) const char* patchgate_build_info() {
  static const std::string lines = patchgate::build_info();
  return lines.c_str();
}
