// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";

/// @title SMT for tests: all there will ever be goes to whoever deploys it
contract SmtToken is ERC20 {
    constructor(uint256 supply) ERC20("Sharing Mesh Token", "SMT") {
        _mint(msg.sender, supply);
    }
}
