// What users are told: the message of a UserError, and whether it mentions what it should.
#pragma once
#include <gtest/gtest.h>

#include <string>

#include "pleiad/comm/collectives.hpp"
#include "pleiad/core/error.hpp"

namespace pleiad::test {

/// The message of the UserError that `action` throws; empty if it throws none.
template <class Action>
std::string problem_of(Action&& action) {
  try {
    action();
  } catch (const UserError& e) {
    return e.what();
  }
  return "";
}

/// The same, and a failed test unless every rank gets the same message. collective.
template <class Action>
std::string problem_on_all(const comm::Communicator& comm, Action&& action) {
  const std::string text = problem_of(action);
  EXPECT_EQ(comm::broadcast(comm, text), text);
  return text;
}

inline testing::AssertionResult mentions(const char*, const char*, const std::string& text, const std::string& part) {
  if (text.find(part) != std::string::npos) return testing::AssertionSuccess();
  return testing::AssertionFailure() << "no '" << part << "' in '" << text << "'";
}

}  // namespace pleiad::test

#define EXPECT_MENTIONS(text, part) EXPECT_PRED_FORMAT2(::pleiad::test::mentions, text, part)
