// _host: what is not a tensor op: how this library was built.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <sstream>
#include <string>

#include "cpu/simd.h"

namespace py = pybind11;

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
  m.doc() = "How patchgate was built.";
  m.def("build_info", &patchgate::build_info);
}
