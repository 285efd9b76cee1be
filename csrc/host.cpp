// _host: what is not a tensor op. How this library was built, and the arithmetic of the shared
// headers on numpy arrays, so that tests run on any machine exactly the code that CUDA runs.
#include "host/host.h"

#include <pybind11/stl.h>

#include <sstream>
#include <string>

#include "cpu/simd.h"

namespace patchgate {
namespace {

std::vector<std::string> split(const std::string& list) {
  std::vector<std::string> parts;
  std::istringstream stream(list);
  for (std::string part; std::getline(stream, part, ',');) parts.push_back(part);
  return parts;
}

py::dict build_info() {
  py::dict info;
  info["version"] = PATCHGATE_VERSION;
  info["compiler"] =
#ifdef __clang__
      "clang " __clang_version__;
#else
      "gcc " __VERSION__;
#endif
  info["cuda_architectures"] = split(PATCHGATE_CUDA_ARCHITECTURES);
  info["simd"] = simd_level();
  return info;
}

}  // namespace
}  // namespace patchgate

PYBIND11_MODULE(_host, m) {
  m.doc() = "How patchgate was built, and its shared arithmetic on numpy arrays, for tests.";
  m.def("build_info", &patchgate::build_info);
  patchgate::bind_frame_grid(m);
  patchgate::bind_gate(m);
  patchgate::bind_gather(m);
}
