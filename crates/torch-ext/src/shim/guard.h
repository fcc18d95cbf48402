// Converts a C++ exception to a return code and a message owned by the caller.
#pragma once
#include <cstring>
#include <exception>

// Returns 0 on success; otherwise 1, and *error is a malloc'ed message.
template <class F>
int guarded(char** error, F&& body) {
  try {
    body();
    return 0;
  } catch (const std::exception& e) {
    *error = strdup(e.what());
  } catch (...) {
    *error = strdup("unknown C++ exception");
  }
  return 1;
}
