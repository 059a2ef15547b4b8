// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";

/// @title Cheques that draw on what payers have deposited
/// @notice A payer deposits tokens and names a settlement key, which signs cheques that draw on this
/// deposit, and on no other, up to an allowance per epoch. A cheque is cumulative: it says what a
/// beneficiary has been given by the issuer, which is the payer, in all. So the newest one
/// replaces all before, and presenting one again pays nothing.
///
/// What a payer takes back, from the deposit or from the key, waits for `LOCK`: whoever holds cheques
/// has this long to cash them.
///
/// Nobody owns this contract. Tokens leave it by a cheque, or by their payer's withdrawal, and in no
/// other way. It must not be used with tokens whose balances change by themselves, or that charge the
/// sender more than it sends. Amounts are in the smallest unit of the token.
contract SmtChequeBook is EIP712, ReentrancyGuardTransient {
    using SafeCast for uint256;
    using SafeERC20 for IERC20;

    /// @notice `cumulative` is all that the beneficiary has been given by this issuer, ever.
    struct Cheque {
        address issuer;
        address beneficiary;
        uint256 cumulative;
    }

    /// @notice A signature in the compact form of ERC-2098: r, and s with the parity as its first bit.
    struct Signature {
        bytes32 r;
        bytes32 vs;
    }

    /// @notice What is known of a payer. A payment reads the first two slots, and writes the first.
    struct Account {
        uint96 balance;
        /// Paid in `epoch`; nothing yet in a later one.
        uint96 spent;
        uint64 epoch;
        address settlementKey;
        uint96 allowance;
        /// What was asked for with `authorize`, and may be had from `changeAt` on, unless that is 0.
        address nextSettlementKey;
        uint96 nextAllowance;
        /// What was asked for with `requestWithdrawal`, and may be had from `withdrawAt` on.
        uint96 withdrawing;
        uint64 withdrawAt;
        uint64 changeAt;
    }

    /// @notice Whether a cheque pays, and if not, why.
    enum Verdict {
        Pays,
        NotSigned,
        NoBeneficiary,
        NothingDue,
        AllowanceSpent,
        DepositSpent
    }

    /// @notice How long whoever holds cheques is warned before a payer takes something back.
    uint256 public constant LOCK = 3 days;

    /// @notice How long an allowance lasts. Epochs begin at multiples of it, so that `LOCK` holds the
    /// beginnings of three.
    uint256 public constant EPOCH = 1 days;

    bytes32 private constant CHEQUE_TYPE =
        keccak256("Cheque(address issuer,address beneficiary,uint256 cumulative)");

    /// @notice The token of all deposits.
    IERC20 public immutable token;

    /// @notice What has been paid on cheques, by issuer and beneficiary. It outlives withdrawals and keys.
    mapping(address issuer => mapping(address beneficiary => uint256)) public paid;

    mapping(address payer => Account) private _accounts;

    event Deposited(address indexed payer, address indexed from, uint256 amount);
    event Authorized(address indexed payer, address indexed settlementKey, uint256 allowance);
    event ChangeRequested(
        address indexed payer, address indexed settlementKey, uint256 allowance, uint256 changeAt
    );
    event WithdrawalRequested(address indexed payer, uint256 amount, uint256 withdrawAt);
    event Withdrawn(address indexed payer, uint256 amount);
    /// `total` is what has been paid on cheques of this pair in all.
    event Cashed(
        address indexed issuer, address indexed beneficiary, uint256 amount, uint256 total
    );
    /// A cheque among many did not pay.
    event Refused(address indexed issuer, address indexed beneficiary, Verdict verdict);

    error DoesNotPay(Verdict verdict);
    error MoreThanDeposited(uint256 amount, uint256 balance);
    error NothingRequested();
    error TooEarly(uint256 readyAt);
    error SignaturesDoNotMatch(uint256 cheques, uint256 signatures);

    constructor(IERC20 token_) EIP712("SmtChequeBook", "1") {
        token = token_;
    }

    // Payers

    /// @notice Adds to the deposit of `payer`, who alone can withdraw it, what arrives of `amount`.
    function deposit(address payer, uint256 amount) external nonReentrant {
        uint256 before = token.balanceOf(address(this));
        token.safeTransferFrom(msg.sender, address(this), amount);
        uint256 received = token.balanceOf(address(this)) - before;
        _accounts[payer].balance += received.toUint96();
        emit Deposited(payer, msg.sender, received);
    }

    /// @notice Lets `settlementKey` sign cheques for up to `allowance` per epoch. The first key, and more
    /// for the same one, is so at once. Everything else makes cheques worth less: it is only asked
    /// for, and done by `applyChange` after `LOCK`. Either replaces what was asked for before.
    function authorize(address settlementKey, uint96 allowance) external {
        Account storage account = _accounts[msg.sender];
        address current = account.settlementKey;
        bool harmless = settlementKey == current && allowance >= account.allowance;
        if (current == address(0) || harmless) {
            _authorize(account, settlementKey, allowance);
            return;
        }
        account.nextSettlementKey = settlementKey;
        account.nextAllowance = allowance;
        account.changeAt = uint64(block.timestamp + LOCK);
        emit ChangeRequested(msg.sender, settlementKey, allowance, account.changeAt);
    }

    /// @notice Does what the caller asked for with `authorize`.
    function applyChange() external {
        Account storage account = _accounts[msg.sender];
        _requireReady(account.changeAt);
        _authorize(account, account.nextSettlementKey, account.nextAllowance);
    }

    /// @notice Announces that the caller wants `amount` back. It still pays cheques until it is withdrawn.
    /// Replaces what was announced before, so that 0 takes it back.
    function requestWithdrawal(uint96 amount) external {
        Account storage account = _accounts[msg.sender];
        uint96 balance = account.balance;
        if (amount > balance) revert MoreThanDeposited(amount, balance);
        account.withdrawing = amount;
        account.withdrawAt = amount == 0 ? 0 : uint64(block.timestamp + LOCK);
        emit WithdrawalRequested(msg.sender, amount, account.withdrawAt);
    }

    /// @notice Pays the caller what was announced, or what cheques have left of it.
    function withdraw() external nonReentrant {
        Account storage account = _accounts[msg.sender];
        _requireReady(account.withdrawAt);
        uint96 amount = uint96(Math.min(account.withdrawing, account.balance));
        account.withdrawing = 0;
        account.withdrawAt = 0;
        account.balance -= amount;
        emit Withdrawn(msg.sender, amount);
        token.safeTransfer(msg.sender, amount);
    }

    // Beneficiaries, and whoever does it for them

    /// @notice Pays the beneficiary what is due on a cheque, as far as deposit and allowance go. The
    /// rest stays due. Whoever only wants to know calls it without sending a transaction.
    function cash(Cheque calldata cheque, Signature calldata signature)
        external
        nonReentrant
        returns (uint256 amount)
    {
        Verdict verdict;
        (verdict, amount) = _draw(cheque, signature);
        if (verdict != Verdict.Pays) revert DoesNotPay(verdict);
        token.safeTransfer(cheque.beneficiary, amount);
    }

    /// @notice The same for many cheques. One that does not pay is told of by an event, and the others
    /// are paid: else anybody could spoil all of them by cashing one first. Successive ones of one
    /// beneficiary are paid in one transfer.
    function cashMany(Cheque[] calldata cheques, Signature[] calldata signatures)
        external
        nonReentrant
        returns (uint256 total)
    {
        if (cheques.length != signatures.length) {
            revert SignaturesDoNotMatch(cheques.length, signatures.length);
        }
        uint256 owed;
        for (uint256 i = 0; i < cheques.length; ++i) {
            Cheque calldata cheque = cheques[i];
            (Verdict verdict, uint256 amount) = _draw(cheque, signatures[i]);
            if (verdict != Verdict.Pays) {
                emit Refused(cheque.issuer, cheque.beneficiary, verdict);
            }
            total += amount;
            owed += amount;
            address beneficiary = cheque.beneficiary;
            bool more = i + 1 < cheques.length && cheques[i + 1].beneficiary == beneficiary;
            if (!more && owed != 0) {
                token.safeTransfer(beneficiary, owed);
                owed = 0;
            }
        }
    }

    // Whoever wants to know

    /// @notice What cheques could be cashed for now, and with what allowance remains in this epoch.
    function cashable(address issuer) external view returns (uint256) {
        Account storage account = _accounts[issuer];
        uint256 left = Math.saturatingSub(account.allowance, _spent(account));
        return Math.min(account.balance, left);
    }

    /// @notice What a settlement service can count on beyond `LOCK`: nothing that the payer may take back
    /// without another warning.
    function reliable(address payer) external view returns (uint256) {
        Account storage account = _accounts[payer];
        uint96 balance = account.balance;
        return account.changeAt == 0 ? Math.saturatingSub(balance, account.withdrawing) : 0;
    }

    /// @notice Everything known of a payer.
    function accountOf(address payer) external view returns (Account memory) {
        return _accounts[payer];
    }

    /// @notice What a settlement key signs.
    function digest(Cheque calldata cheque) external view returns (bytes32) {
        return _digest(cheque.issuer, cheque.beneficiary, cheque.cumulative);
    }

    function _digest(address issuer, address beneficiary, uint256 cumulative)
        private
        view
        returns (bytes32)
    {
        return _hashTypedDataV4(
            keccak256(abi.encode(CHEQUE_TYPE, issuer, beneficiary, cumulative))
        );
    }

    function _authorize(Account storage account, address settlementKey, uint96 allowance) private {
        account.settlementKey = settlementKey;
        account.allowance = allowance;
        account.nextSettlementKey = address(0);
        account.nextAllowance = 0;
        account.changeAt = 0;
        emit Authorized(msg.sender, settlementKey, allowance);
    }

    /// Everything but the transfer.
    function _draw(Cheque calldata cheque, Signature calldata signature)
        private
        returns (Verdict, uint256 amount)
    {
        (address issuer, address beneficiary) = (cheque.issuer, cheque.beneficiary);
        if (beneficiary == address(0) || beneficiary == address(this)) {
            return (Verdict.NoBeneficiary, 0);
        }
        Account storage account = _accounts[issuer];
        bytes32 hash = _digest(issuer, beneficiary, cheque.cumulative);
        if (!_isSigned(hash, signature, account.settlementKey)) return (Verdict.NotSigned, 0);
        mapping(address => uint256) storage paidTo = paid[issuer];
        uint256 before = paidTo[beneficiary];
        if (cheque.cumulative <= before) return (Verdict.NothingDue, 0);
        uint256 balance = account.balance;
        if (balance == 0) return (Verdict.DepositSpent, 0);
        uint256 spent = _spent(account);
        uint256 allowance = account.allowance;
        if (allowance <= spent) return (Verdict.AllowanceSpent, 0);
        // No more than is due, allowed and there, so that nothing here can overflow.
        unchecked {
            amount = Math.min(cheque.cumulative - before, Math.min(balance, allowance - spent));
            account.balance = uint96(balance - amount);
            account.spent = uint96(spent + amount);
            account.epoch = uint64(block.timestamp / EPOCH);
            before += amount;
        }
        paidTo[beneficiary] = before;
        emit Cashed(issuer, beneficiary, amount, before);
        return (Verdict.Pays, amount);
    }

    function _spent(Account storage account) private view returns (uint256) {
        return account.epoch == block.timestamp / EPOCH ? account.spent : 0;
    }

    function _isSigned(bytes32 hash, Signature calldata signature, address key)
        private
        pure
        returns (bool)
    {
        (address signer, ECDSA.RecoverError failure,) =
            ECDSA.tryRecover(hash, signature.r, signature.vs);
        // A payer who has named no key has key 0, as has a signature that is none.
        return failure == ECDSA.RecoverError.NoError && signer == key;
    }

    function _requireReady(uint64 readyAt) private view {
        if (readyAt == 0) revert NothingRequested();
        if (block.timestamp < readyAt) revert TooEarly(readyAt);
    }
}
