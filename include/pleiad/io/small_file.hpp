// Small text files beside the HDF5 ones (JSON): read whole and replaced whole, so that a reader on another machine sees the old one or the
// new one, never a part.
#pragma once
#include <string>

namespace pleiad::io {

/// The content of a small text file; false if there is none or it cannot be read. Tries again where a network file system lost its handle.
bool read_whole(const std::string& path, std::string& text);
/// Written beside and renamed. `durable`: also survives a power cut (fsync). UserError if it cannot be written.
void replace_whole(const std::string& path, const std::string& text, bool durable);
/// What an option named: a file is replaced, into a pipe, a device or a link it is written. UserError that names `option` too if that fails.
void write_output(const std::string& option, const std::string& path, const std::string& text);

/// Whether it is there and is neither a regular file nor a folder: reading it could wait for ever, or never end.
bool is_pipe_or_device(const std::string& path);

}  // namespace pleiad::io
