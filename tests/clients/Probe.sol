// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.0;
contract Probe {
  event Noted(address indexed who, uint256 value);
  error Refused(uint256 code, string why);
  uint256 public last;
  function note(uint256 value) external { last = value; emit Noted(msg.sender, value); }
  function refuse(uint256 code) external pure { revert Refused(code, "not today"); }
  function refuseText() external pure { revert("plain words"); }
}
