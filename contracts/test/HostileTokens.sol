// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

import {SmtToken} from "../SmtToken.sol";

/// @title A token that calls somebody, once, in the middle of its next transfer
contract ReentrantToken is SmtToken {
    address private _target;
    bytes private _call;

    /// Whether the call was made, what became of it, and what it returned.
    bool public called;
    bool public succeeded;
    bytes public returned;

    constructor(uint256 supply) SmtToken(supply) {}

    function arm(address target, bytes calldata call) external {
        _target = target;
        _call = call;
        called = false;
    }

    /// Whoever is called sees this contract as the caller, which therefore needs tokens and allowances.
    function approveAsToken(address spender, uint256 amount) external {
        _approve(address(this), spender, amount);
    }

    function _update(address from, address to, uint256 value) internal override {
        super._update(from, to, value);
        address target = _target;
        if (target != address(0)) {
            _target = address(0);
            called = true;
            (succeeded, returned) = target.call(_call);
        }
    }
}

/// @title A token of which one in ten is lost on the way
contract FeeToken is SmtToken {
    constructor(uint256 supply) SmtToken(supply) {}

    function _update(address from, address to, uint256 value) internal override {
        if (from == address(0) || to == address(0)) {
            super._update(from, to, value);
            return;
        }
        super._update(from, to, value - value / 10);
        super._update(from, address(0), value / 10);
    }
}

/// @title A token that says no by returning false, once told to
contract RefusingToken is SmtToken {
    bool public refuses;

    constructor(uint256 supply) SmtToken(supply) {}

    function refuse() external {
        refuses = true;
    }

    function transfer(address to, uint256 value) public override returns (bool) {
        return !refuses && super.transfer(to, value);
    }

    function transferFrom(address from, address to, uint256 value) public override returns (bool) {
        return !refuses && super.transferFrom(from, to, value);
    }
}

/// @title A token whose functions return nothing, as some old ones do
contract SilentToken {
    mapping(address => uint256) public balanceOf;
    mapping(address => mapping(address => uint256)) public allowance;

    constructor(uint256 supply) {
        balanceOf[msg.sender] = supply;
    }

    function approve(address spender, uint256 value) external {
        allowance[msg.sender][spender] = value;
    }

    function transfer(address to, uint256 value) external {
        _move(msg.sender, to, value);
    }

    function transferFrom(address from, address to, uint256 value) external {
        allowance[from][msg.sender] -= value;
        _move(from, to, value);
    }

    function _move(address from, address to, uint256 value) private {
        balanceOf[from] -= value;
        balanceOf[to] += value;
    }
}
